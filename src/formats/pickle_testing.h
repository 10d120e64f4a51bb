#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/concat.h"
#include "formats/gguf_testing.h"

// Writes pickles opcode by opcode. Only *_test.cpp files include this.
namespace llamlx::testing {

/// A pickle of protocol 2 of the one value that `code` makes.
inline std::string pickle_of(std::string_view code) {
  return concat("\x80\x02", code, ".");
}

inline std::string pickle_text(std::string_view text) {
  return concat("X", raw(static_cast<std::uint32_t>(text.size())), text);
}

/// An integer of any size, as LONG1.
inline std::string pickle_number(std::int64_t value) {
  return concat("\x8a\x08", raw(value));
}

inline std::string pickle_global(std::string_view module,
                                 std::string_view name) {
  return concat("c", module, "\n", name, "\n");
}

inline std::string joined(const std::vector<std::string>& parts) {
  std::string all;
  for (const auto& part : parts) all += part;
  return all;
}

inline std::string pickle_tuple(const std::vector<std::string>& items) {
  return concat("(", joined(items), "t");
}

inline std::string pickle_numbers(const std::vector<std::int64_t>& values) {
  std::vector<std::string> items;
  for (const auto value : values) items.push_back(pickle_number(value));
  return pickle_tuple(items);
}

inline std::string pickle_list(const std::vector<std::string>& items) {
  return concat("](", joined(items), "e");
}

/// Keys and values in turn.
inline std::string pickle_dict(const std::vector<std::string>& items) {
  return concat("}(", joined(items), "u");
}

/// A call by REDUCE.
inline std::string pickle_call(std::string_view module, std::string_view name,
                               const std::vector<std::string>& args) {
  return concat(pickle_global(module, name), pickle_tuple(args), "R");
}

}  // namespace llamlx::testing
