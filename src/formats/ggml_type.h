#pragma once

#include <cstdint>
#include <string_view>

namespace llamlx {

/// The types of GGUF tensors that can be read; the numbers are the format's.
enum class GgmlType : std::uint32_t {
  f32 = 0,
  f16 = 1,
  q4_0 = 2,
  q4_1 = 3,
  q5_0 = 6,
  q5_1 = 7,
  q8_0 = 8,
  q2_k = 10,
  q3_k = 11,
  q4_k = 12,
  q5_k = 13,
  q6_k = 14,
  bf16 = 30,
};

/// What is known of one type of GGUF tensors, readable or not. A row of a
/// tensor is a sequence of blocks of `block_size` values.
struct GgmlTypeInfo {
  GgmlType type;  ///< also numbers that the enum does not name
  std::string_view name;
  int block_size;
  int block_bytes;  ///< 0: withdrawn from the format
};

/// The type with the number `type`, or nullptr.
/// Source: enum ggml_type and the block structs of ggml.
const GgmlTypeInfo* find_ggml_type(std::uint32_t type);

}  // namespace llamlx
