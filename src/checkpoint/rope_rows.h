#pragma once

#include <cstdint>
#include <vector>

namespace llamlx {

/// Where the rows of a query or key projection lie in a checkpoint that keeps
/// the pairs which turn together as neighbours (Meta's, GGUF's llama), in
/// Hugging Face's order, where element i of a head pairs with i + head_dim / 2.
///
/// `rows` must be a multiple of `head_dim`, and that even.
std::vector<std::int32_t> hugging_face_row_order(std::int32_t rows,
                                                 std::int32_t head_dim);

}  // namespace llamlx
