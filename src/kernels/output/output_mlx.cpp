#include <mlx/ops.h>

#include "kernels/output/output.h"

namespace llamlx {

mx::array output_mlx(const mx::array& heads, const Linear& o_proj,
                     const mx::array& x) {
  return mx::add(x, linear(heads, o_proj));
}

}  // namespace llamlx
