#include "checkpoint/rope_rows.h"

namespace llamlx {

std::vector<std::int32_t> hugging_face_row_order(std::int32_t rows,
                                                 std::int32_t head_dim) {
  std::vector<std::int32_t> order;
  order.reserve(static_cast<std::size_t>(rows));
  for (std::int32_t head = 0; head < rows; head += head_dim) {
    for (std::int32_t half = 0; half < 2; ++half) {
      for (std::int32_t i = 0; i < head_dim / 2; ++i) {
        order.push_back(head + 2 * i + half);
      }
    }
  }
  return order;
}

}  // namespace llamlx
