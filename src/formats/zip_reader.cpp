#include "formats/zip_reader.h"

#include <algorithm>
#include <new>
#include <stdexcept>

#include "base/concat.h"
#include "base/error.h"
#include "formats/crc32.h"
#include "formats/zip_stream.h"

namespace llamlx {
namespace {

constexpr std::size_t kPieceSize = std::size_t{16} << 20;

[[noreturn]] void fail_entry(ErrorCode code, const MappedFile& file,
                             const ZipEntry& entry, std::string_view cause,
                             std::string_view remedy) {
  fail(code, file.path().string(), concat("entry ", entry.name, " ", cause),
       remedy);
}

std::vector<std::byte> allocate(const MappedFile& file, const ZipEntry& entry) {
  try {
    return std::vector<std::byte>(entry.size);
  } catch (const std::bad_alloc&) {
  } catch (const std::length_error&) {
  }
  fail_entry(ErrorCode::out_of_memory, file, entry,
             concat("needs ", entry.size, " bytes of memory"),
             "free some memory");
}

}  // namespace

ZipFile::ZipFile(const std::filesystem::path& path)
    : file_(std::make_shared<MappedFile>(path)),
      entries_(read_zip_directory(*file_)) {}

const ZipEntry* ZipFile::find(std::string_view name) const {
  const auto found =
      std::ranges::lower_bound(entries_, name, {}, &ZipEntry::name);
  return found != entries_.end() && found->name == name ? &*found : nullptr;
}

std::span<const std::byte> ZipFile::stored_bytes(const ZipEntry& entry) const {
  if (!entry.is_stored) {
    throw std::invalid_argument(
        concat("[ZipFile] expected a stored entry, got ", entry.name));
  }
  return file_->bytes().subspan(entry.data_begin, entry.size);
}

std::vector<std::byte> ZipFile::read(const ZipEntry& entry,
                                     std::uint64_t most_bytes) const {
  if (entry.size > most_bytes) {
    fail_entry(ErrorCode::corrupt_file, *file_, entry,
               concat("has ", entry.size, " bytes where at most ", most_bytes,
                      " are expected"),
               "download or copy it again");
  }
  auto bytes = allocate(*file_, entry);
  ZipStream stream(*file_, entry);
  stream.read(bytes);
  stream.finish();
  return bytes;
}

void ZipFile::check_crc(const ZipEntry& entry, PagesRead pages) const {
  auto rest = stored_bytes(entry);
  std::uint32_t crc = 0;
  while (!rest.empty()) {
    const auto piece = rest.first(std::min(rest.size(), kPieceSize));
    file_->populate(piece);
    crc = crc32(crc, piece);
    if (pages == PagesRead::released) file_->release(piece);
    rest = rest.subspan(piece.size());
  }
  if (crc == entry.crc) return;
  fail_entry(ErrorCode::corrupt_file, *file_, entry, "has the wrong checksum",
             "download or copy it again");
}

}  // namespace llamlx
