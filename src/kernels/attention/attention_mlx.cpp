#include <algorithm>
#include <cmath>

#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/attention/attention.h"

namespace llamlx {
namespace {

/// Which of the positions [first, end) the rows at [end - length, end) see:
/// bool [length, end - first].
mx::array window_mask(int first, int end, int length, int window) {
  const auto queries =
      mx::expand_dims(mx::arange(end - length, end, 1, mx::int32), 1);
  const auto keys = mx::expand_dims(mx::arange(first, end, 1, mx::int32), 0);
  const auto since = mx::subtract(queries, keys);
  return mx::logical_and(mx::greater_equal(since, mx::array(0)),
                         mx::less(since, mx::array(window)));
}

/// Queries, keys and values [1, heads, ..., Dh] of one sequence, whose last
/// rows are the queries'.
mx::array attend(const mx::array& queries, const mx::array& keys,
                 const mx::array& values, int window) {
  const float scale = 1 / std::sqrt(static_cast<float>(queries.shape(3)));
  const int length = queries.shape(2);
  const int end = keys.shape(2);
  const auto attention = [&](const mx::array& k, const mx::array& v,
                             const char* mode,
                             const std::optional<mx::array>& mask) {
    return mx::fast::scaled_dot_product_attention(queries, k, v, scale, mode,
                                                  mask);
  };
  const char* causal = length > 1 ? "causal" : "";
  if (window == 0 || window >= end) return attention(keys, values, causal, {});
  // No row sees what the first one does not.
  const int first = std::max(end - length + 1 - window, 0);
  const auto seen = [&](const mx::array& all) {
    return mx::slice(all, {0, 0, first, 0}, all.shape());
  };
  if (length == 1) return attention(seen(keys), seen(values), "", {});
  return attention(seen(keys), seen(values), "array",
                   window_mask(first, end, length, window));
}

}  // namespace

mx::array attention_mlx(const mx::array& q, int layer, int window,
                        const Rows& rows) {
  const int num_heads = q.shape(1);
  const int head_dim = q.shape(2);
  std::vector<mx::array> outputs;  // [L, H * Dh] a segment
  int begin = 0;
  for (const auto& [cache, length] : rows) {
    const auto part =
        mx::slice(q, {begin, 0, 0}, {begin + length, num_heads, head_dim});
    const auto queries = mx::transpose(mx::expand_dims(part, 0), {0, 2, 1, 3});
    const auto [keys, values] = array_cache(*cache).fetch(layer);
    const auto out = attend(queries, keys, values, window);
    outputs.push_back(mx::reshape(mx::transpose(out, {0, 2, 1, 3}),
                                  {length, num_heads * head_dim}));
    begin += length;
  }
  return outputs.size() == 1 ? outputs[0] : mx::concatenate(outputs, 0);
}

}  // namespace llamlx
