#include <cstring>
#include <limits>
#include <string>
#include <type_traits>

#include "base/concat.h"
#include "base/error.h"
#include "formats/gguf_reader.h"

namespace llamlx {
namespace {

using Strings = std::vector<std::string_view>;
using Integers = std::vector<std::int64_t>;
using Numbers = std::vector<double>;

template <typename T>
constexpr const char* kExpected = "";
template <>
constexpr const char* kExpected<bool> = "true or false";
template <>
constexpr const char* kExpected<std::int64_t> = "a whole number";
template <>
constexpr const char* kExpected<double> = "a number";
template <>
constexpr const char* kExpected<std::string_view> = "a string";
template <>
constexpr const char* kExpected<Strings> = "an array of strings";
template <>
constexpr const char* kExpected<Integers> = "an array of whole numbers";
template <>
constexpr const char* kExpected<Numbers> = "an array of numbers";

const char* name_of(GgufValueType type) {
  constexpr const char* kNames[] = {
      "uint8", "int8",   "uint16", "int16",  "uint32", "int32",  "float32",
      "bool",  "string", "array",  "uint64", "int64",  "float64"};
  return kNames[static_cast<std::uint32_t>(type)];
}

std::string describe(const GgufValue& value) {
  if (value.type != GgufValueType::array) return name_of(value.type);
  return concat("an array of ", value.count, " ", name_of(value.element_type));
}

template <typename T>
T load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof(T));
  return value;
}

/// Reads the element at `at` and moves past it; empty when it is no T.
template <typename T>
std::optional<T> take_element(GgufValueType type, const char*& at);

template <typename To, typename From>
std::optional<To> take_number(const char*& at) {
  const auto value = load<From>(at);
  at += sizeof(From);
  if constexpr (std::is_same_v<From, std::uint64_t> && std::is_integral_v<To>) {
    if (value > static_cast<From>(std::numeric_limits<To>::max())) return {};
  }
  return static_cast<To>(value);
}

template <>
std::optional<std::int64_t> take_element(GgufValueType type, const char*& at) {
  using To = std::int64_t;
  switch (type) {
    case GgufValueType::uint8:
      return take_number<To, std::uint8_t>(at);
    case GgufValueType::int8:
      return take_number<To, std::int8_t>(at);
    case GgufValueType::uint16:
      return take_number<To, std::uint16_t>(at);
    case GgufValueType::int16:
      return take_number<To, std::int16_t>(at);
    case GgufValueType::uint32:
      return take_number<To, std::uint32_t>(at);
    case GgufValueType::int32:
      return take_number<To, std::int32_t>(at);
    case GgufValueType::uint64:
      return take_number<To, std::uint64_t>(at);
    case GgufValueType::int64:
      return take_number<To, std::int64_t>(at);
    default:
      return {};
  }
}

template <>
std::optional<double> take_element(GgufValueType type, const char*& at) {
  switch (type) {
    case GgufValueType::float32:
      return take_number<double, float>(at);
    case GgufValueType::float64:
      return take_number<double, double>(at);
    case GgufValueType::uint64:
      return take_number<double, std::uint64_t>(at);
    default:
      if (const auto whole = take_element<std::int64_t>(type, at)) {
        return static_cast<double>(*whole);
      }
      return {};
  }
}

template <>
std::optional<bool> take_element(GgufValueType type, const char*& at) {
  if (type != GgufValueType::boolean) return {};
  const auto value = load<std::uint8_t>(at++);
  return value <= 1 ? std::optional(value == 1) : std::nullopt;
}

template <>
std::optional<std::string_view> take_element(GgufValueType type,
                                             const char*& at) {
  if (type != GgufValueType::string) return {};
  const auto length = load<std::uint64_t>(at);
  const std::string_view text(at + sizeof(length), length);
  at += sizeof(length) + length;
  return text;
}

template <typename T>
struct Reader {
  static std::optional<T> read(const GgufValue& value) {
    if (value.type == GgufValueType::array) return {};
    const char* at = value.bytes.data();
    return take_element<T>(value.type, at);
  }
};

template <typename T>
struct Reader<std::vector<T>> {
  static std::optional<std::vector<T>> read(const GgufValue& value) {
    if (value.type != GgufValueType::array) return {};
    std::vector<T> elements;
    elements.reserve(value.count);
    const char* at = value.bytes.data();
    for (std::uint64_t i = 0; i < value.count; ++i) {
      const auto element = take_element<T>(value.element_type, at);
      if (!element) return {};
      elements.push_back(*element);
    }
    return elements;
  }
};

}  // namespace

template <typename T>
std::optional<T> GgufFile::get(std::string_view key) const {
  const auto* value = find_value(key);
  if (value == nullptr) return {};
  if (auto result = Reader<T>::read(*value)) return result;
  fail(ErrorCode::corrupt_file, path().string(),
       concat("the metadata value ", key, " should be ", kExpected<T>, ", got ",
              describe(*value)),
       "convert the model again with a current llama.cpp");
}

template <typename T>
T GgufFile::require(std::string_view key) const {
  if (auto result = get<T>(key)) return *std::move(result);
  fail(ErrorCode::corrupt_file, path().string(),
       concat("the metadata value ", key, " is missing"),
       "convert the model again with a current llama.cpp");
}

#define LLAMLX_INSTANTIATE(T)                                      \
  template std::optional<T> GgufFile::get(std::string_view) const; \
  template T GgufFile::require(std::string_view) const;
LLAMLX_INSTANTIATE(bool)
LLAMLX_INSTANTIATE(std::int64_t)
LLAMLX_INSTANTIATE(double)
LLAMLX_INSTANTIATE(std::string_view)
LLAMLX_INSTANTIATE(Strings)
LLAMLX_INSTANTIATE(Integers)
LLAMLX_INSTANTIATE(Numbers)
#undef LLAMLX_INSTANTIATE

}  // namespace llamlx
