#include <mlx/fast.h>
#include <mlx/ops.h>

#include "kernels/mlp/mlp.h"

namespace llamlx {
namespace {

/// Which experts rows go to, and the shares of these.
struct Routes {
  mx::array experts;  // [N, k] uint32
  mx::array shares;   // [N, k] float32
};

Routes route(const mx::array& normed, const Linear& router,
             const ExpertParams& params) {
  const auto logits = linear(mx::astype(normed, mx::float32),
                             {astype(router.weight, mx::float32)});
  // Sorting is stable on every device: of equal ones the first comes first.
  const auto order = mx::argsort(mx::negative(logits), -1);
  const auto experts =
      mx::slice(order, {0, 0}, {logits.shape(0), params.num_experts_per_tok});
  const auto shares = mx::take_along_axis(
      mx::softmax(logits, -1, /*precise=*/true), experts, -1);
  if (!params.norm_topk_prob) return {experts, shares};
  return {experts, mx::divide(shares, mx::sum(shares, -1, true))};
}

/// `part` [E * R, ...] with the experts as an axis of their own: [E, R, ...].
mx::array by_expert(const mx::array& part, int experts) {
  return mx::unflatten(part, 0, {experts, -1});
}

/// x [N, 1 or k, 1, K] times the transposed weights of experts `chosen` [N, k],
/// of `experts`: [N, k, 1, R].
mx::array multiply(const mx::array& x, const Weight& weight, int experts,
                   const mx::array& chosen) {
  const auto data = by_expert(weight.data, experts);
  if (weight.quantization) {
    const auto& [bits, group_size, mode] = *weight.quantization;
    std::optional<mx::array> biases;
    if (weight.biases) biases = by_expert(*weight.biases, experts);
    return mx::gather_qmm(x, data, by_expert(*weight.scales, experts), biases,
                          std::nullopt, chosen, /*transpose=*/true, group_size,
                          bits, to_string(mode));
  }
  const bool is_cpu = mx::default_device() == mx::Device::cpu;
  const auto dtype = is_cpu ? mx::float32 : x.dtype();
  const auto y = mx::gather_mm(mx::astype(x, dtype),
                               mx::swapaxes(mx::astype(data, dtype), -1, -2),
                               std::nullopt, chosen);
  return mx::astype(y, x.dtype());
}

}  // namespace

mx::array experts_mlx(const mx::array& x, const MlpWeights& weights,
                      const ExpertParams& params, float rms_norm_eps) {
  const auto normed =
      mx::fast::rms_norm(x, weights.post_attention_layernorm, rms_norm_eps);
  const int experts = weights.router->weight.data.shape(0);
  const auto routes = route(normed, *weights.router, params);
  const auto product = [&](const mx::array& rows, const Linear& layer) {
    return multiply(rows, layer.weight, experts, routes.experts);
  };
  const auto rows = mx::expand_dims(normed, {1, 2});  // [N, 1, 1, D]
  const auto gate = product(rows, weights.gate_proj);
  const auto up = product(rows, weights.up_proj);
  const auto silu = mx::multiply(gate, mx::sigmoid(gate));
  const auto y = product(mx::multiply(silu, up), weights.down_proj);
  const auto parts = mx::multiply(mx::astype(mx::squeeze(y, 2), mx::float32),
                                  mx::expand_dims(routes.shares, -1));
  return mx::add(x, mx::astype(mx::sum(parts, 1), x.dtype()));
}

}  // namespace llamlx
