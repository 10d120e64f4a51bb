#include "formats/npz_reader.h"

#include <algorithm>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <mlx/device.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/error.h"
#include "formats/array_buffer.h"
#include "formats/mapped_array.h"
#include "formats/tensor_size.h"
#include "formats/zip_stream.h"

namespace llamlx {
namespace {

constexpr std::string_view kExtension = ".npy";

/// The first bytes of an entry, stored or deflated.
std::string first_bytes(const ZipFile& zip, const ZipEntry& entry,
                        std::uint64_t size) {
  if (size > entry.size) {
    refuse_npy({zip.file()->path(), entry.name},
               "is too short for a numpy array");
  }
  std::string bytes(size, '\0');
  ZipStream(*zip.file(), entry)
      .read(std::as_writable_bytes(std::span(bytes.data(), bytes.size())));
  return bytes;
}

void check_size(const NpySubject& subject, const NpyHeader& header,
                std::uint64_t size) {
  const auto needed =
      bits_needed(header.shape, std::uint64_t{header.dtype.size()} * 8);
  if (!needed) refuse_npy(subject, "has a shape too large to address");
  if (*needed / 8 == size) return;
  refuse_npy(subject, concat("has ", size, " bytes of data where its type and ",
                             "shape need ", *needed / 8));
}

}  // namespace

NpzFile::NpzFile(const std::filesystem::path& path)
    : zip_(path), is_checked_(new std::atomic<bool>[zip_.entries().size()]()) {
  std::vector<std::pair<TensorEntry, Located>> found;
  for (const auto& entry : zip_.entries()) {
    const NpySubject subject = {this->path(), entry.name};
    std::string_view name = entry.name;
    if (!name.ends_with(kExtension)) {
      fail(ErrorCode::unsupported, path.string(),
           concat("entry ", name, " is not an array (.npy)"),
           "remove it from the archive");
    }
    name.remove_suffix(kExtension.size());
    const auto size =
        npy_header_size(subject, first_bytes(zip_, entry, kNpyPrefixSize));
    const auto header =
        parse_npy_header(subject, first_bytes(zip_, entry, size));
    check_size(subject, header, entry.size - size);
    found.push_back(
        {{std::string(name), header.dtype_name, header.dtype, header.shape},
         {found.size(), size, header.is_fortran}});
  }
  // Without ".npy" names may sort otherwise.
  std::ranges::sort(found, {}, [](const auto& one) -> const std::string& {
    return one.first.name;
  });
  for (auto& [tensor, located] : found) {
    tensors_.push_back(std::move(tensor));
    located_.push_back(located);
  }
}

mx::array NpzFile::read(const TensorEntry& entry) const {
  const auto& located =
      located_[static_cast<std::size_t>(&entry - tensors_.data())];
  const auto& packed = zip_.entries()[located.entry];
  const auto read_values = [&](const mx::Shape& shape) {
    return packed.is_stored
               ? read_stored(packed, located.header_size, shape, *entry.dtype)
               : read_deflated(packed, located.header_size, shape,
                               *entry.dtype);
  };
  if (!located.is_fortran || entry.shape.size() < 2) {
    return read_values(entry.shape);
  }
  // Column by column is row by row of the transposed.
  auto values = mx::transpose(
      read_values(mx::Shape(entry.shape.rbegin(), entry.shape.rend())),
      mx::Device(mx::Device::cpu));
  values = mx::contiguous(values, false, mx::Device(mx::Device::cpu));
  values.eval();
  return values;
}

mx::array NpzFile::read_stored(const ZipEntry& entry, std::size_t header_size,
                               const mx::Shape& shape, mx::Dtype dtype) const {
  auto& is_checked =
      is_checked_[static_cast<std::size_t>(&entry - zip_.entries().data())];
  if (!is_checked) {
    zip_.check_crc(entry, PagesRead::kept);
    is_checked = true;
  }
  return mapped_array(
      zip_.file(), zip_.stored_bytes(entry).subspan(header_size), shape, dtype);
}

mx::array NpzFile::read_deflated(const ZipEntry& entry, std::size_t header_size,
                                 const mx::Shape& shape,
                                 mx::Dtype dtype) const {
  ArrayBuffer buffer(shape, dtype, path(), concat("entry ", entry.name));
  ZipStream stream(*zip_.file(), entry);
  std::vector<std::byte> header(header_size);
  stream.read(header);
  stream.read(buffer.values());
  stream.finish();
  return std::move(buffer).finish();
}

std::optional<std::uint32_t> NpzFile::checksum(const TensorEntry& entry) const {
  const auto index = static_cast<std::size_t>(&entry - tensors_.data());
  return zip_.entries()[located_[index].entry].crc;
}

}  // namespace llamlx
