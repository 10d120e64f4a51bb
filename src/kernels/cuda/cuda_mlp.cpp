#include "kernels/cuda/cuda_mlp.h"

#include "kernels/cuda/cuda_experts.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

/// silu(gate(x)) * up(x) of all rows; whether these are operands of what
/// follows.
bool gate(CudaModel& model, const CudaLayer& layer, const ProductRows& x) {
  auto& space = model.space;
  const int inner = layer.down_proj.cols;
  if (layer.gate_up.size() == 1) {
    return multiply(model, layer.gate_up.front(), x,
                    {space.hidden.as<float>(),
                     inner,
                     cuda::Output::swiglu,
                     {.matrix = &layer.down_proj}});
  }
  auto* out = space.gate_up.as<float>();
  for (const auto& matrix : layer.gate_up) {
    multiply(model, matrix, x, {out, 2 * inner, cuda::Output::store});
    out += inner;
  }
  multiply_gates(model, space.gate_up.as<const float>(), x.rows, inner,
                 space.hidden.as<float>());
  return false;
}

}  // namespace

bool run_mlp(CudaModel& model, const CudaLayer& layer, const ProductRows& x,
             const ProductTarget& residual) {
  if (layer.experts) return run_experts(model, *layer.experts, x, residual);
  const bool are_operands = gate(model, layer, x);
  return multiply(model, layer.down_proj,
                  {.x = model.space.hidden.as<const float>(),
                   .rows = x.rows,
                   .are_operands = are_operands},
                  residual);
}

NextProduct first_of_mlp(const CudaModel& model, const CudaLayer& layer,
                         int rows) {
  const auto& norm = layer.post_attention_layernorm;
  if (layer.experts) {
    return first_of_experts(model, *layer.experts, norm, rows);
  }
  if (layer.gate_up.size() != 1) return {};
  return {&layer.gate_up.front(), &norm};
}

}  // namespace llamlx
