#include "formats/gguf_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "base/concat.h"
#include "base/error.h"
#include "formats/lfs_pointer.h"

namespace llamlx {
namespace {

static_assert(std::endian::native == std::endian::little,
              "GGUF files are little-endian and are read as they are");

constexpr std::string_view kMagic = "GGUF";
constexpr std::uint32_t kMaxDimensions = 4;  // GGML_MAX_DIMS
constexpr std::int64_t kDefaultAlignment = 32;
constexpr int kMaxArrayDepth = 4;
constexpr const char* kRemedy = "download or convert it again";

// The fewest bytes that a metadata value and a tensor's description take.
constexpr std::uint64_t kMinValueBytes = 8 + 4 + 1;
constexpr std::uint64_t kMinTensorBytes = 8 + 4 + 8 + 4 + 8;
constexpr std::uint64_t kStringHeaderBytes = 8;
constexpr std::uint64_t kArrayHeaderBytes = 4 + 8;

[[noreturn]] void fail_corrupt(const std::filesystem::path& path,
                               std::string_view cause) {
  fail(ErrorCode::corrupt_file, path.string(), cause, kRemedy);
}

/// Reads a file from front to back and never beyond its end.
class Cursor {
 public:
  explicit Cursor(const MappedFile& file) : file_(file), text_(file.text()) {}

  const std::filesystem::path& path() const { return file_.path(); }
  std::uint64_t position() const { return position_; }
  std::uint64_t remaining() const { return text_.size() - position_; }

  std::string_view take(std::uint64_t size, std::string_view what) {
    if (size > remaining()) {
      fail_corrupt(path(), concat("is cut short or damaged: ", what, " needs ",
                                  size, " bytes at byte ", position_, ", but ",
                                  remaining(), " follow"));
    }
    const auto bytes = text_.substr(position_, size);
    position_ += size;
    return bytes;
  }

  template <typename T>
  T read(std::string_view what) {
    T value;
    std::memcpy(&value, take(sizeof(T), what).data(), sizeof(T));
    return value;
  }

  std::string_view read_string(std::string_view what) {
    return take(read<std::uint64_t>(what), what);
  }

  /// Fails unless `count` things of at least `min_bytes` each can follow: what
  /// is allocated for them stays in proportion to the file.
  void expect_room(std::uint64_t count, std::uint64_t min_bytes,
                   std::string_view what) const {
    if (count <= remaining() / min_bytes) return;
    fail_corrupt(path(),
                 concat("is cut short or damaged: ", what, " announces ", count,
                        " entries, more than the file has room for"));
  }

  /// The bytes between `begin` and here.
  std::string_view since(std::uint64_t begin) const {
    return text_.substr(begin, position_ - begin);
  }

 private:
  const MappedFile& file_;
  std::string_view text_;
  std::uint64_t position_ = 0;
};

void check_magic(Cursor& cursor) {
  if (cursor.take(kMagic.size(), "the header") != kMagic) {
    fail_corrupt(cursor.path(), "is not a GGUF file");
  }
}

std::uint32_t read_version(Cursor& cursor) {
  const auto version = cursor.read<std::uint32_t>("the header");
  if (version == 2 || version == 3) return version;
  // The version is small, so a file of the other byte order shows at once.
  const bool big_endian = version != 0 && (version & 0xffff) == 0;
  fail(ErrorCode::unsupported, cursor.path().string(),
       big_endian
           ? std::string("is a big-endian GGUF file")
           : concat("is GGUF version ", version, "; versions 2 and 3 are read"),
       "convert the model again with a current llama.cpp");
}

/// Bytes of one number or boolean; 0 for everything else.
std::uint64_t size_of(GgufValueType type) {
  switch (type) {
    case GgufValueType::uint8:
    case GgufValueType::int8:
    case GgufValueType::boolean:
      return 1;
    case GgufValueType::uint16:
    case GgufValueType::int16:
      return 2;
    case GgufValueType::uint32:
    case GgufValueType::int32:
    case GgufValueType::float32:
      return 4;
    case GgufValueType::uint64:
    case GgufValueType::int64:
    case GgufValueType::float64:
      return 8;
    default:
      return 0;
  }
}

struct ArrayHeader {
  GgufValueType element_type;
  std::uint64_t count;
};

ArrayHeader read_array_header(Cursor& cursor, std::string_view what) {
  const auto type = cursor.read<GgufValueType>(what);
  return {type, cursor.read<std::uint64_t>(what)};
}

void skip_elements(Cursor& cursor, const ArrayHeader& array, int depth,
                   std::string_view what) {
  if (const auto size = size_of(array.element_type)) {
    cursor.expect_room(array.count, size, what);
    cursor.take(array.count * size, what);
  } else if (array.element_type == GgufValueType::string) {
    cursor.expect_room(array.count, kStringHeaderBytes, what);
    for (std::uint64_t i = 0; i < array.count; ++i) cursor.read_string(what);
  } else if (array.element_type == GgufValueType::array) {
    if (depth == kMaxArrayDepth) {
      fail_corrupt(cursor.path(), concat(what, " is nested too deep"));
    }
    cursor.expect_room(array.count, kArrayHeaderBytes, what);
    for (std::uint64_t i = 0; i < array.count; ++i) {
      skip_elements(cursor, read_array_header(cursor, what), depth + 1, what);
    }
  } else {
    fail_corrupt(cursor.path(),
                 concat(what, " has the unknown type ",
                        static_cast<std::uint32_t>(array.element_type)));
  }
}

GgufValue read_value(Cursor& cursor) {
  GgufValue value;
  value.key = cursor.read_string("a metadata key");
  const auto what = concat("the metadata value ", value.key);
  value.type = cursor.read<GgufValueType>(what);
  ArrayHeader elements{value.type, 1};
  if (value.type == GgufValueType::array) {
    elements = read_array_header(cursor, what);
  }
  value.element_type = elements.element_type;
  value.count = elements.count;
  const auto begin = cursor.position();
  skip_elements(cursor, elements, 0, what);
  value.bytes = cursor.since(begin);
  return value;
}

std::vector<GgufValue> read_metadata(Cursor& cursor, std::uint64_t count) {
  cursor.expect_room(count, kMinValueBytes, "the metadata");
  std::vector<GgufValue> values;
  values.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    values.push_back(read_value(cursor));
  }
  std::ranges::sort(values, {}, &GgufValue::key);
  const auto twin = std::ranges::adjacent_find(values, {}, &GgufValue::key);
  if (twin != values.end()) {
    fail_corrupt(cursor.path(),
                 concat("has the metadata key ", twin->key, " twice"));
  }
  return values;
}

struct PlacedTensor {
  GgufTensor tensor;
  std::uint64_t offset;
  std::uint64_t nbytes;
};

mx::Shape read_shape(Cursor& cursor, std::string_view what) {
  const auto rank = cursor.read<std::uint32_t>(what);
  if (rank == 0 || rank > kMaxDimensions) {
    fail_corrupt(cursor.path(), concat(what, " has ", rank, " dimensions"));
  }
  mx::Shape shape(rank, 0);
  for (std::uint32_t i = 0; i < rank; ++i) {
    const auto size = cursor.read<std::uint64_t>(what);
    if (size == 0 || size > std::numeric_limits<std::int32_t>::max()) {
      fail_corrupt(cursor.path(), concat(what, " has a dimension of ", size));
    }
    shape[rank - 1 - i] = static_cast<std::int32_t>(size);
  }
  return shape;
}

std::uint64_t count_bytes(Cursor& cursor, const GgufTensor& tensor,
                          std::string_view what) {
  const auto& type = *tensor.type;
  if (tensor.shape.back() % type.block_size != 0) {
    fail_corrupt(
        cursor.path(),
        concat(what, " has rows of ", tensor.shape.back(), " values, but ",
               type.name, " stores blocks of ", type.block_size));
  }
  std::int64_t bytes = type.block_bytes;
  bytes *= tensor.shape.back() / type.block_size;
  for (std::size_t i = 0; i + 1 < tensor.shape.size(); ++i) {
    if (__builtin_mul_overflow(bytes, tensor.shape[i], &bytes)) {
      fail_corrupt(cursor.path(), concat(what, " is impossibly large"));
    }
  }
  return static_cast<std::uint64_t>(bytes);
}

PlacedTensor read_tensor(Cursor& cursor) {
  PlacedTensor result{};
  auto& tensor = result.tensor;
  tensor.name = cursor.read_string("a tensor's name");
  const auto what = concat("tensor ", tensor.name);
  tensor.shape = read_shape(cursor, what);
  const auto type = cursor.read<std::uint32_t>(what);
  tensor.type = find_ggml_type(type);
  if (tensor.type == nullptr || tensor.type->block_bytes == 0) {
    fail_unsupported_type(
        cursor.path(), tensor.name,
        tensor.type ? tensor.type->name : concat("type ", type));
  }
  result.offset = cursor.read<std::uint64_t>(what);
  result.nbytes = count_bytes(cursor, tensor, what);
  return result;
}

void check_overlap(const std::filesystem::path& path,
                   std::vector<PlacedTensor>& placed) {
  std::ranges::sort(placed, {}, &PlacedTensor::offset);
  for (std::size_t i = 1; i < placed.size(); ++i) {
    const auto& before = placed[i - 1];
    if (placed[i].offset - before.offset < before.nbytes) {
      fail_corrupt(path, concat("tensors ", before.tensor.name, " and ",
                                placed[i].tensor.name, " overlap"));
    }
  }
}

std::vector<PlacedTensor> read_tensors(Cursor& cursor, std::uint64_t count) {
  cursor.expect_room(count, kMinTensorBytes, "the list of tensors");
  std::vector<PlacedTensor> placed;
  placed.reserve(count);
  for (std::uint64_t i = 0; i < count; ++i) {
    placed.push_back(read_tensor(cursor));
  }
  check_overlap(cursor.path(), placed);
  return placed;
}

/// Finds the bytes of every tensor in the data that follows `cursor`.
std::vector<GgufTensor> place_tensors(Cursor& cursor, const MappedFile& file,
                                      const std::vector<PlacedTensor>& placed,
                                      std::uint64_t alignment) {
  std::vector<GgufTensor> tensors;
  tensors.reserve(placed.size());
  const auto padding = (0 - cursor.position()) & (alignment - 1);
  if (!placed.empty()) cursor.take(padding, "the padding before the data");
  const auto data = file.bytes().subspan(cursor.position());
  for (const auto& [tensor, offset, nbytes] : placed) {
    if ((offset & (alignment - 1)) != 0) {
      fail_corrupt(cursor.path(),
                   concat("tensor ", tensor.name, " lies at offset ", offset,
                          ", not a multiple of ", alignment));
    }
    if (offset > data.size() || nbytes > data.size() - offset) {
      fail_corrupt(cursor.path(),
                   concat("is cut short: tensor ", tensor.name, " needs ",
                          nbytes, " bytes at offset ", offset,
                          " of the data, which has ", data.size()));
    }
    tensors.push_back(tensor);
    tensors.back().bytes = data.subspan(offset, nbytes);
  }
  std::ranges::sort(tensors, {}, &GgufTensor::name);
  const auto twin = std::ranges::adjacent_find(tensors, {}, &GgufTensor::name);
  if (twin != tensors.end()) {
    fail_corrupt(cursor.path(), concat("has tensor ", twin->name, " twice"));
  }
  return tensors;
}

template <typename Entries, typename Name>
auto find_entry(const Entries& entries, std::string_view wanted, Name name) {
  const auto found = std::ranges::lower_bound(entries, wanted, {}, name);
  return found != entries.end() && std::invoke(name, *found) == wanted
             ? &*found
             : nullptr;
}

}  // namespace

GgufFile::GgufFile(const std::filesystem::path& path) : file_(path) {
  refuse_lfs_pointer(file_);
  Cursor cursor(file_);
  check_magic(cursor);
  version_ = read_version(cursor);
  const auto tensor_count = cursor.read<std::uint64_t>("the header");
  const auto value_count = cursor.read<std::uint64_t>("the header");
  metadata_ = read_metadata(cursor, value_count);
  const auto placed = read_tensors(cursor, tensor_count);
  tensors_ = place_tensors(cursor, file_, placed, alignment());
}

std::uint64_t GgufFile::alignment() const {
  constexpr const char* kKey = "general.alignment";
  const auto alignment = get<std::int64_t>(kKey).value_or(kDefaultAlignment);
  if (alignment <= 0 || (alignment & (alignment - 1)) != 0) {
    fail_corrupt(path(), concat("the metadata value ", kKey, " is ", alignment,
                                ", not a power of two"));
  }
  return static_cast<std::uint64_t>(alignment);
}

const GgufTensor* GgufFile::find(std::string_view name) const {
  return find_entry(tensors_, name, &GgufTensor::name);
}

const GgufValue* GgufFile::find_value(std::string_view key) const {
  return find_entry(metadata_, key, &GgufValue::key);
}

void fail_unsupported_type(const std::filesystem::path& file,
                           std::string_view tensor, std::string_view type) {
  fail(ErrorCode::unsupported, file.string(),
       concat("tensor ", tensor, " is stored as ", type,
              ", which is not supported"),
       "use a GGUF in Q2_K to Q6_K, Q4_0 to Q8_0, F16, BF16 or F32");
}

}  // namespace llamlx
