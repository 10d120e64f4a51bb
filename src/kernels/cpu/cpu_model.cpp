#include "kernels/cpu/cpu_model.h"

#include <numeric>
#include <stdexcept>

#include "base/concat.h"

namespace llamlx {
namespace {

CpuVector view_vector(const mx::array& values) {
  return {values.data<void>(), value_type(values.dtype())};
}

CpuVector view_vector(const std::optional<mx::array>& values) {
  return values ? view_vector(*values) : CpuVector{};
}

WeightView view_weight(const Weight& weight) {
  const auto shape = weight.shape();
  const auto data = [](const std::optional<mx::array>& part) {
    return part ? part->data<void>() : nullptr;
  };
  return {weight_format({weight.dtype(), weight.quantization}),
          shape.at(0),
          shape.at(1),
          weight.data.data<void>(),
          data(weight.scales),
          data(weight.biases)};
}

CpuLinear view_linear(const Linear& layer, ValueType compute) {
  const auto weight = view_weight(layer.weight);
  CpuLinear result{weight, weight, view_vector(layer.bias), {}, 1};
  result.choose_kernels(compute);
  return result;
}

void split_alike(CpuLinear& a, CpuLinear& b) {
  a.unit = b.unit = std::lcm(a.unit, b.unit);
}

CpuLayer view_layer(const DecoderLayer& layer, int window, int head_dim,
                    ValueType compute) {
  const auto linear = [&](const Linear& one) {
    return view_linear(one, compute);
  };
  const auto& [qkv, o_proj, mlp] = layer;
  CpuLayer result{
      .input_layernorm = view_vector(qkv.input_layernorm),
      .q_proj = linear(qkv.q_proj),
      .k_proj = linear(qkv.k_proj),
      .v_proj = linear(qkv.v_proj),
      .q_norm = view_vector(qkv.q_norm),
      .k_norm = view_vector(qkv.k_norm),
      .o_proj = linear(o_proj),
      .post_attention_layernorm = view_vector(mlp.post_attention_layernorm),
      .gate_proj = linear(mlp.gate_proj),
      .up_proj = linear(mlp.up_proj),
      .down_proj = linear(mlp.down_proj),
      .window = window,
  };
  if (mlp.router) {
    result.router = linear(*mlp.router);
    const int experts = result.router->weight.rows;
    for (auto* stack :
         {&result.gate_proj, &result.up_proj, &result.down_proj}) {
      stack->weight.rows /= experts;
      stack->packed = stack->weight;
    }
  }
  for (auto* heads : {&result.q_proj, &result.k_proj, &result.v_proj}) {
    heads->unit = std::lcm(heads->unit, head_dim);
  }
  split_alike(result.k_proj, result.v_proj);
  split_alike(result.gate_proj, result.up_proj);
  return result;
}

}  // namespace

void CpuLinear::choose_kernels(ValueType compute) {
  for (int rows = 1; rows <= kFewRows + 1; ++rows) {
    const auto& kernel =
        matmul_kernel(read_by(rows).format, weight.cols, compute, rows);
    kernels[static_cast<std::size_t>(rows) - 1] = &kernel;
    unit = std::lcm(unit, kernel.row_step);
  }
}

ValueType value_type(mx::Dtype dtype) {
  switch (dtype.val()) {
    case mx::Dtype::Val::float32:
      return ValueType::f32;
    case mx::Dtype::Val::float16:
      return ValueType::f16;
    case mx::Dtype::Val::bfloat16:
      return ValueType::bf16;
    default:
      throw std::invalid_argument(
          concat("kernels do not read values of type ", to_string(dtype)));
  }
}

WeightFormat weight_format(const ValueFormat& held) {
  const auto none = Quantization{.bits = 0, .group_size = 0};
  const auto q = held.quantization.value_or(none);
  return {value_type(held.dtype), q.bits, q.group_size};
}

CpuModel::CpuModel(DecoderWeights loaded, StackParams stack, ValueType type,
                   int threads)
    : pool(thread_pool(threads)),
      weights(std::move(loaded)),
      params(std::move(stack)),
      compute(type),
      embed_tokens(view_weight(weights.embed_tokens)),
      norm(view_vector(weights.norm)),
      lm_head(view_linear(weights.lm_head, compute)) {
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    layers.push_back(view_layer(weights.layers[i], params.windows.at(i),
                                params.heads.head_dim, compute));
  }
  workspace.threads.resize(static_cast<std::size_t>(pool->size()));
}

}  // namespace llamlx
