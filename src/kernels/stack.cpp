#include "kernels/stack.h"

#include <cstdint>
#include <stdexcept>

#include <mlx/ops.h>

#include "base/concat.h"
#include "kernels/backend.h"

namespace llamlx {

void check_kv_bits(int kv_bits) {
  if (kv_bits == 0 || kv_bits == 8) return;
  throw std::invalid_argument(
      concat("keys and values are kept in 8 bits, or in those computed in (0), "
             "not in ",
             kv_bits));
}

mx::array Stack::forward_last(const mx::array& ids, const Rope& rope,
                              const Rows& rows) const {
  std::vector<std::int32_t> last;
  int end = 0;
  for (const auto& segment : rows) {
    end += segment.length;
    last.push_back(end - 1);
  }
  const mx::array indices(last.begin(), {static_cast<int>(last.size())},
                          mx::int32);
  return mx::take(forward(ids, rope, rows), indices, 0);
}

}  // namespace llamlx
