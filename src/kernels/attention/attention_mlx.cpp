#include <cmath>

#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/attention/attention.h"

namespace llamlx {

mx::array attention_mlx(const mx::array& q, int layer, const Rows& rows) {
  const int num_heads = q.shape(1);
  const int head_dim = q.shape(2);
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  std::vector<mx::array> outputs;  // [L, H * Dh] a segment
  int begin = 0;
  for (const auto& [cache, length] : rows) {
    const auto part =
        mx::slice(q, {begin, 0, 0}, {begin + length, num_heads, head_dim});
    const auto queries = mx::transpose(mx::expand_dims(part, 0), {0, 2, 1, 3});
    const auto [keys, values] = cache->fetch(layer);
    const auto out = mx::fast::scaled_dot_product_attention(
        queries, keys, values, scale, length > 1 ? "causal" : "");
    outputs.push_back(mx::reshape(mx::transpose(out, {0, 2, 1, 3}),
                                  {length, num_heads * head_dim}));
    begin += length;
  }
  return outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0);
}

}  // namespace llamlx
