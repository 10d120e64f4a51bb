#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include "formats/gguf_reader.h"

// Writes small GGUF files. Only *_test.cpp files include this.
namespace llamlx::testing {

/// The bytes of a number, little end first on every machine the tests run on.
template <typename T>
std::string raw(T value) {
  return {reinterpret_cast<const char*>(&value), sizeof(T)};
}

inline std::string gguf_string(std::string_view text) {
  return raw<std::uint64_t>(text.size()) + std::string(text);
}

template <typename T>
constexpr GgufValueType gguf_type_of() {
  using Type = GgufValueType;
  if constexpr (std::is_same_v<T, bool>) return Type::boolean;
  if constexpr (std::is_same_v<T, std::uint8_t>) return Type::uint8;
  if constexpr (std::is_same_v<T, std::int8_t>) return Type::int8;
  if constexpr (std::is_same_v<T, std::uint16_t>) return Type::uint16;
  if constexpr (std::is_same_v<T, std::int16_t>) return Type::int16;
  if constexpr (std::is_same_v<T, std::uint32_t>) return Type::uint32;
  if constexpr (std::is_same_v<T, std::int32_t>) return Type::int32;
  if constexpr (std::is_same_v<T, std::uint64_t>) return Type::uint64;
  if constexpr (std::is_same_v<T, std::int64_t>) return Type::int64;
  if constexpr (std::is_same_v<T, float>) return Type::float32;
  if constexpr (std::is_same_v<T, double>) return Type::float64;
  if constexpr (std::is_same_v<T, std::string>) return Type::string;
}

/// A GGUF file in the making.
///
/// Example:
///     GgufBuilder file;
///     file.set("llama.block_count", std::uint32_t{2})
///         .set("tokenizer.ggml.tokens", std::vector<std::string>{"a", "b"})
///         .add("output_norm.weight", {4}, GgmlType::f32, bytes);
///     folder.write("model.gguf", file.bytes());
class GgufBuilder {
 public:
  std::uint32_t version = 3;
  std::uint64_t alignment = 32;

  template <typename T>
  GgufBuilder& set(const std::string& key, const T& value) {
    return set_raw(key, static_cast<std::uint32_t>(gguf_type_of<T>()),
                   encode(value));
  }

  template <typename T>
  GgufBuilder& set(const std::string& key, const std::vector<T>& values) {
    auto bytes = raw(gguf_type_of<T>()) + raw<std::uint64_t>(values.size());
    for (const T& value : values) bytes += encode(value);
    return set_raw(key, static_cast<std::uint32_t>(GgufValueType::array),
                   bytes);
  }

  GgufBuilder& set(const std::string& key, const char* text) {
    return set(key, std::string(text));
  }

  /// A value of any type number and bytes, right or wrong.
  GgufBuilder& set_raw(const std::string& key, std::uint32_t type,
                       const std::string& bytes) {
    for (auto& [name, value] : values_) {
      if (name == key) {
        value = raw(type) + bytes;
        return *this;
      }
    }
    return append_raw(key, type, bytes);
  }

  /// As set_raw(), also when the key is there already.
  GgufBuilder& append_raw(const std::string& key, std::uint32_t type,
                          const std::string& bytes) {
    values_.emplace_back(key, raw(type) + bytes);
    return *this;
  }

  GgufBuilder& remove(const std::string& key) {
    std::erase_if(values_,
                  [&](const auto& entry) { return entry.first == key; });
    return *this;
  }

  /// A tensor; `dimensions` as the file has them, the contiguous one first.
  GgufBuilder& add(const std::string& name,
                   const std::vector<std::uint64_t>& dimensions, GgmlType type,
                   const std::string& bytes) {
    auto info =
        gguf_string(name) + raw(static_cast<std::uint32_t>(dimensions.size()));
    for (const auto size : dimensions) info += raw(size);
    tensors_.push_back({name, info + raw(type), bytes});
    return *this;
  }

  GgufBuilder& remove_tensor(const std::string& name) {
    std::erase_if(tensors_,
                  [&](const auto& entry) { return entry.name == name; });
    return *this;
  }

  /// Moves the last tensor, rightly or not. Its bytes stay where they are.
  GgufBuilder& move_last(std::uint64_t offset) {
    tensors_.back().false_offset = offset;
    return *this;
  }

  std::string header() const {
    auto text = "GGUF" + raw(version) + raw<std::uint64_t>(tensors_.size()) +
                raw<std::uint64_t>(values_.size());
    for (const auto& [key, value] : values_) text += gguf_string(key) + value;
    std::uint64_t offset = 0;
    for (const auto& entry : tensors_) {
      text += entry.info + raw(entry.false_offset.value_or(offset));
      offset += padded(entry.bytes.size());
    }
    return text;
  }

  std::string bytes() const {
    auto text = header();
    for (const auto& entry : tensors_) {
      text.resize(padded(text.size()));
      text += entry.bytes;
    }
    return text;
  }

 private:
  struct Entry {
    std::string name;
    std::string info;
    std::string bytes;
    std::optional<std::uint64_t> false_offset = {};
  };

  std::uint64_t padded(std::uint64_t size) const {
    return (size + alignment - 1) / alignment * alignment;
  }

  template <typename T>
  static std::string encode(const T& value) {
    if constexpr (std::is_same_v<T, std::string>) {
      return gguf_string(value);
    } else {
      return raw(value);
    }
  }

  std::vector<std::pair<std::string, std::string>> values_;
  std::vector<Entry> tensors_;
};

}  // namespace llamlx::testing
