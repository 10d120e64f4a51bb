#include "kernels/stack.h"

#include <cstdint>

#include <mlx/ops.h>

namespace llamlx {

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
