#include "kernels/linear.h"

#include <mlx/ops.h>

namespace llamlx {
namespace {

/// x weight^T.
mx::array multiply(const mx::array& x, const Weight& weight) {
  if (!weight.quantization) return mx::matmul(x, mx::transpose(weight.data));
  const auto& [bits, group_size, mode] = *weight.quantization;
  return mx::quantized_matmul(x, weight.data, *weight.scales, weight.biases,
                              /*transpose=*/true, group_size, bits,
                              to_string(mode));
}

}  // namespace

mx::array linear(const mx::array& x, const Linear& layer) {
  auto y = multiply(x, layer.weight);
  return layer.bias ? mx::add(y, *layer.bias) : y;
}

}  // namespace llamlx
