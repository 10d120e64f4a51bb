#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/mlp/mlp.h"

namespace llamlx {

mx::array mlp_mlx(const mx::array& x, const MlpWeights& weights,
                  float rms_norm_eps) {
  const auto normed =
      mx::fast::rms_norm(x, weights.post_attention_layernorm, rms_norm_eps);
  const auto gate = linear(normed, weights.gate_proj);
  const auto up = linear(normed, weights.up_proj);
  const auto silu = mx::multiply(gate, mx::sigmoid(gate));
  return mx::add(x, linear(mx::multiply(silu, up), weights.down_proj));
}

}  // namespace llamlx
