#include "formats/safetensors_reader.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <tuple>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/json.h"
#include "formats/lfs_pointer.h"
#include "formats/mapped_array.h"
#include "formats/safetensors_dtype.h"
#include "formats/tensor_size.h"

namespace llamlx {
namespace {

static_assert(std::endian::native == std::endian::little,
              "safetensors files are little-endian and are copied as they are");

constexpr std::uint64_t kLengthSize = 8;
constexpr std::uint64_t kLongestHeader = 100'000'000;  // the format's own limit
constexpr const char* kRemedy = "download or convert it again";

[[noreturn]] void fail_corrupt(const MappedFile& file, std::string_view cause) {
  fail(ErrorCode::corrupt_file, file.path().string(), cause, kRemedy);
}

/// The two parts of a file: what the header says, and the data it speaks of.
struct Parts {
  std::string_view header;
  std::span<const std::byte> data;
};

Parts split(const MappedFile& file) {
  refuse_lfs_pointer(file);
  const auto text = file.text();
  if (text.size() < kLengthSize) {
    fail_corrupt(file, concat("is too short for a safetensors file (",
                              text.size(), " bytes)"));
  }
  std::uint64_t length = 0;
  std::memcpy(&length, text.data(), kLengthSize);
  const auto rest = text.substr(kLengthSize);
  if (length > kLongestHeader) {
    fail_corrupt(file, concat("is not a safetensors file: its header would be ",
                              length, " bytes long"));
  }
  if (length > rest.size()) {
    fail_corrupt(file, concat("is cut short: its header should be ", length,
                              " bytes long, but only ", rest.size(),
                              " bytes are there"));
  }
  return {rest.substr(0, length), file.bytes().subspan(kLengthSize + length)};
}

std::map<std::string, std::string> parse_metadata(const MappedFile& file,
                                                  const Json& entry) {
  std::map<std::string, std::string> metadata;
  if (entry.is_null()) return metadata;  // MLX writes this for no metadata
  if (!entry.is_object()) fail_corrupt(file, "__metadata__ is not an object");
  for (const auto& [key, value] : entry.items()) {
    if (!value.is_string()) {
      fail_corrupt(file, concat("__metadata__ \"", key, "\" is not a string"));
    }
    metadata.emplace(key, value.get<std::string>());
  }
  return metadata;
}

/// An entry and where its data lies.
struct Located {
  TensorEntry entry;
  std::span<const std::byte> bytes;
};

/// Reads one entry of the header and checks it by itself.
class EntryParser {
 public:
  EntryParser(const MappedFile& file, std::span<const std::byte> data,
              const std::string& name, const Json& entry)
      : file_(file), data_(data), name_(name), entry_(entry) {
    if (!entry.is_object()) refuse("is not described by an object");
  }

  Located parse() const {
    const auto& dtype = parse_dtype();
    auto shape = parse_shape();
    const auto bytes = parse_bytes();
    const auto needed = bytes_needed(shape, dtype.bits);
    if (bytes.size() != needed) {
      refuse(concat("has ", bytes.size(), " bytes of data where its type and ",
                    "shape need ", needed));
    }
    return {{name_, std::string(dtype.name), dtype.dtype, std::move(shape)},
            bytes};
  }

 private:
  [[noreturn]] void refuse(std::string_view cause) const {
    fail_corrupt(file_, concat("tensor ", name_, " ", cause));
  }

  const Json& field(const char* key) const {
    const auto found = entry_.find(key);
    if (found == entry_.end()) refuse(concat("has no \"", key, "\""));
    return *found;
  }

  const SafetensorsDtype& parse_dtype() const {
    const auto& value = field("dtype");
    if (!value.is_string()) refuse("has a \"dtype\" that is not a string");
    const auto& name = value.get_ref<const std::string&>();
    if (const auto* dtype = find_safetensors_dtype(name)) return *dtype;
    fail(ErrorCode::unsupported, file_.path().string(),
         concat("tensor ", name_, " has the unknown type ", name),
         "convert it to F32, F16 or BF16");
  }

  mx::Shape parse_shape() const {
    const auto& value = field("shape");
    if (!value.is_array()) refuse("has a \"shape\" that is not a list");
    mx::Shape shape;
    for (const auto& dimension : value) {
      const auto size = dimension.is_number_unsigned()
                            ? dimension.get<std::uint64_t>()
                            : std::numeric_limits<std::uint64_t>::max();
      if (!std::in_range<mx::ShapeElem>(size)) {
        refuse("has a dimension that is no whole number below 2^31");
      }
      shape.push_back(static_cast<mx::ShapeElem>(size));
    }
    return shape;
  }

  std::span<const std::byte> parse_bytes() const {
    const auto& value = field("data_offsets");
    if (!value.is_array() || value.size() != 2 ||
        !value[0].is_number_unsigned() || !value[1].is_number_unsigned()) {
      refuse("has \"data_offsets\" that are not two whole numbers");
    }
    const auto begin = value[0].get<std::uint64_t>();
    const auto end = value[1].get<std::uint64_t>();
    if (begin > end) refuse("ends before it begins");
    if (end > data_.size()) {
      refuse(concat("ends at byte ", end, " of the data, of which only ",
                    data_.size(), " bytes are there: the file is cut short"));
    }
    return data_.subspan(begin, end - begin);
  }

  std::uint64_t bytes_needed(const mx::Shape& shape, int bits) const {
    const auto needed = bits_needed(shape, static_cast<std::uint64_t>(bits));
    if (!needed) refuse("has a shape too large to address");
    if (*needed % 8 != 0) refuse("does not fill whole bytes");
    return *needed / 8;
  }

  const MappedFile& file_;
  std::span<const std::byte> data_;
  const std::string& name_;
  const Json& entry_;
};

/// Checks that the tensors cover `data` once.
void check_layout(const MappedFile& file, std::span<const std::byte> data,
                  std::span<const Located> tensors) {
  std::vector<const Located*> in_order;
  for (const auto& tensor : tensors) in_order.push_back(&tensor);
  std::ranges::sort(in_order, {}, [](const Located* tensor) {
    return std::tuple(tensor->bytes.data(), tensor->bytes.size());
  });
  const auto* expected = data.data();
  for (const auto* tensor : in_order) {
    const auto* begin = tensor->bytes.data();
    if (begin != expected) {
      fail_corrupt(
          file, concat("tensor ", tensor->entry.name,
                       begin < expected ? " overlaps the tensor before it"
                                        : " begins after bytes of no tensor"));
    }
    expected = begin + tensor->bytes.size();
  }
  const auto rest = data.data() + data.size() - expected;
  if (rest != 0) {
    fail_corrupt(file, concat("goes on for ", rest,
                              " bytes after the end of its last tensor"));
  }
}

}  // namespace

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : file_(std::make_shared<MappedFile>(path)) {
  const auto [header, data] = split(*file_);
  const auto json = parse_json_object(
      header, concat(path.string(), " (header)"), RepeatedKeys::refused);
  std::vector<Located> located;
  for (const auto& [name, entry] : json.items()) {
    if (name == "__metadata__") {
      metadata_ = parse_metadata(*file_, entry);
    } else {
      located.push_back(EntryParser(*file_, data, name, entry).parse());
    }
  }
  check_layout(*file_, data, located);
  for (auto& tensor : located) {
    tensors_.push_back(std::move(tensor.entry));
    bytes_.push_back(tensor.bytes);
  }
}

mx::array SafetensorsFile::read(const TensorEntry& entry) const {
  if (!entry.dtype) {
    fail(ErrorCode::unsupported, path().string(),
         concat("tensor ", entry.name, " has the type ", entry.dtype_name,
                ", which llamlx does not compute with"),
         "convert it to F32, F16 or BF16");
  }
  const auto& bytes =
      bytes_[static_cast<std::size_t>(&entry - tensors_.data())];
  return mapped_array(file_, bytes, entry.shape, *entry.dtype);
}

}  // namespace llamlx
