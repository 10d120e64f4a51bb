#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/logits/logits.h"

namespace llamlx {

mx::array logits_mlx(const mx::array& x, const mx::array& norm,
                     const Linear& lm_head, float rms_norm_eps) {
  const auto normed = mx::fast::rms_norm(x, norm, rms_norm_eps);
  return mx::astype(linear(normed, lm_head), mx::float32);
}

}  // namespace llamlx
