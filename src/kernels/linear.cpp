#include "kernels/linear.h"

#include <mlx/ops.h>

namespace llamlx {

mx::array linear(const mx::array& x, const Linear& layer) {
  const auto& weight = layer.weight;
  auto y = weight.quantization
               ? mx::quantized_matmul(x, weight.data, *weight.scales,
                                      weight.biases, /*transpose=*/true,
                                      weight.quantization->group_size,
                                      weight.quantization->bits)
               : mx::matmul(x, mx::transpose(weight.data));
  return layer.bias ? mx::add(y, *layer.bias) : y;
}

}  // namespace llamlx
