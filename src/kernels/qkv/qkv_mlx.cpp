#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/qkv/qkv.h"

namespace llamlx {
namespace {

/// Rows [L, heads * Dh] of one sequence as MLX's attention takes them:
/// [1, heads, L, Dh].
mx::array split_heads(const mx::array& x, int heads) {
  const int length = x.shape(0);
  return mx::transpose(mx::reshape(x, {1, length, heads, -1}), {0, 2, 1, 3});
}

mx::array norm_heads(const mx::array& x, const std::optional<mx::array>& norm,
                     float eps) {
  return norm ? mx::fast::rms_norm(x, *norm, eps) : x;
}

/// The periods [Dh / 2] of one segment.
mx::array periods_of(const Rope& rope, int segment) {
  if (rope.periods.ndim() == 1) return rope.periods;
  const int count = rope.periods.shape(1);
  return mx::reshape(
      mx::slice(rope.periods, {segment, 0}, {segment + 1, count}), {count});
}

mx::array rotate(const mx::array& x, const Rope& rope, const mx::array& periods,
                 int offset) {
  const auto turned = mx::fast::rope(x, x.shape(-1), rope.traditional,
                                     /*base=*/std::nullopt,
                                     /*scale=*/1, offset, periods);
  if (rope.scale == 1) return turned;
  return mx::multiply(turned, mx::array(rope.scale, turned.dtype()));
}

}  // namespace

mx::array qkv_mlx(const mx::array& x, const QkvWeights& weights,
                  const QkvParams& params, int layer, const Rows& rows) {
  const auto& heads = params.heads;
  const auto normed =
      mx::fast::rms_norm(x, weights.input_layernorm, params.rms_norm_eps);
  const auto q = linear(normed, weights.q_proj);
  const auto k = linear(normed, weights.k_proj);
  const auto v = linear(normed, weights.v_proj);

  std::vector<mx::array> turned;  // [L, H, Dh] a segment
  int begin = 0;
  int segment = 0;
  for (const auto& [cache, length] : rows) {
    const int end = begin + length;
    const auto of_segment = [&](const mx::array& all, int count) {
      const auto part = mx::slice(all, {begin, 0}, {end, all.shape(1)});
      return split_heads(part, count);
    };
    const auto periods = periods_of(params.rope, segment++);
    const int offset = cache->offset();
    const auto turn = [&](const mx::array& all, int count,
                          const std::optional<mx::array>& norm) {
      const auto normed_heads =
          norm_heads(of_segment(all, count), norm, params.rms_norm_eps);
      return rotate(normed_heads, params.rope, periods, offset);
    };
    array_cache(*cache).append(
        layer, turn(k, heads.num_key_value_heads, weights.k_norm),
        of_segment(v, heads.num_key_value_heads));
    const auto turned_q = turn(q, heads.num_attention_heads, weights.q_norm);
    turned.push_back(mx::squeeze(mx::transpose(turned_q, {0, 2, 1, 3}), 0));
    begin = end;
  }
  return turned.size() == 1 ? turned[0] : mx::concatenate(turned, 0);
}

}  // namespace llamlx
