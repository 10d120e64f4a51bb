#include "kernels/cuda/cuda_model.h"

#include <algorithm>
#include <stdexcept>

#include <mlx/ops.h>

#include "base/concat.h"
#include "base/error.h"
#include "cuda/experts/route.h"
#include "cuda/experts/some_rows.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"
#include "kernels/backend.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/cuda_pass.h"
#include "kernels/cuda/cuda_shapes.h"

namespace llamlx {
namespace {

cuda::NumberType compute_type(mx::Dtype dtype) {
  if (dtype == mx::float32) return cuda::NumberType::f32;
  if (dtype == mx::float16) return cuda::NumberType::f16;
  if (dtype == mx::bfloat16) return cuda::NumberType::bf16;
  throw std::invalid_argument(
      concat("kernels do not compute in ", to_string(dtype)));
}

cuda::NumberType cached_type(int kv_bits, cuda::NumberType compute) {
  check_kv_bits(kv_bits);
  return kv_bits == 8 ? cuda::NumberType::q8 : compute;
}

CudaShapes shapes_of(const CudaModel& model) {
  CudaShapes shapes{model.params.heads.head_dim};
  for (const auto& layer : model.weights.layers) {
    if (const auto& router = layer.mlp.router) {
      shapes.num_experts =
          std::max(shapes.num_experts, router->weight.shape().at(0));
    }
    for (const auto* linear :
         {&layer.qkv.q_proj, &layer.o_proj, &layer.mlp.down_proj}) {
      shapes.columns.push_back(linear->weight.shape().back());
    }
  }
  return shapes;
}

/// Refuses what kernels do not take, before anything is loaded.
void check_shapes(const CudaModel& model) {
  const auto objection = cuda_objection(shapes_of(model));
  if (objection.empty()) return;
  fail(ErrorCode::unsupported, model.device.name, objection,
       "use the CPU (--device cpu)");
}

CudaVector upload_optional(Stream& stream,
                           const std::optional<mx::array>& values) {
  return values ? upload_vector(stream, *values) : CudaVector{};
}

CudaMatrix pack_linear(Stream& stream, const Linear& layer) {
  const Linear* const layers[] = {&layer};
  return std::move(pack_linears(stream, layers, Packing::side_by_side).front());
}

CudaExperts load_experts(Stream& stream, const MlpWeights& mlp) {
  const auto& router = mlp.router->weight;
  const int count = router.shape().at(0);
  const Linear* const gate_up[] = {&mlp.gate_proj, &mlp.up_proj};
  const Linear* const down[] = {&mlp.down_proj};
  const auto norm = mx::astype(mlp.post_attention_layernorm, mx::float32);
  return {
      .count = count,
      .router = upload_vector(
          stream, mx::multiply(dequantize(router, mx::float32), norm)),
      .gate_up = pack_linears(stream, gate_up, Packing::interleaved, count),
      .down_proj = std::move(
          pack_linears(stream, down, Packing::side_by_side, count).front()),
  };
}

CudaLayer load_layer(Stream& stream, const DecoderLayer& layer, int window) {
  const auto& [qkv, o_proj, mlp] = layer;
  const Linear* const projections[] = {&qkv.q_proj, &qkv.k_proj, &qkv.v_proj};
  const Linear* const gate_up[] = {&mlp.gate_proj, &mlp.up_proj};
  CudaLayer result{
      .input_layernorm = upload_vector(stream, qkv.input_layernorm),
      .qkv = pack_linears(stream, projections, Packing::side_by_side),
      .q_norm = upload_optional(stream, qkv.q_norm),
      .k_norm = upload_optional(stream, qkv.k_norm),
      .o_proj = pack_linear(stream, o_proj),
      .post_attention_layernorm =
          upload_vector(stream, mlp.post_attention_layernorm),
      .experts = {},
      .gate_up = {},
      .down_proj = {},
      .window = window,
  };
  if (mlp.router) {
    result.experts = load_experts(stream, mlp);
  } else {
    result.gate_up = pack_linears(stream, gate_up, Packing::interleaved);
    result.down_proj = pack_linear(stream, mlp.down_proj);
  }
  return result;
}

/// As many counters as the largest kernel of a pass has.
void make_counters(CudaModel& model) {
  constexpr int kRouteBlocks = kCudaPrefillRows / cuda::kRouteRows;
  int count = cuda::kMostSegments * model.params.heads.num_key_value_heads;
  const auto add = [&](const CudaMatrix& matrix) {
    count = std::max(count, matrix.row_blocks);
  };
  add(model.lm_head());
  for (const auto& layer : model.layers) {
    for (const auto& matrix : layer.qkv) add(matrix);
    for (const auto& matrix : layer.gate_up) add(matrix);
    add(layer.o_proj);
    add(layer.down_proj);
    if (layer.experts) {
      count = std::max({count, cuda::kSlicedBlocks, kRouteBlocks});
    }
  }
  auto* counters =
      model.space.counters.reserve<unsigned>(static_cast<std::size_t>(count));
  fill_zero(model.stream, counters, model.space.counters.bytes());
}

}  // namespace

CudaModel::CudaModel(DecoderWeights loaded, StackParams stack, mx::Dtype dtype,
                     int kv_bits)
    : device(cuda_device()),
      weights(std::move(loaded)),
      params(std::move(stack)),
      compute(compute_type(dtype)),
      cached(cached_type(kv_bits, compute)),
      host_tokens(sizeof(int) * cuda::kTokenSlots * cuda::kTokenSlotRows) {
  check_shapes(*this);
  const auto plan = plan_cuda_memory(device, weights, params, compute, cached);
  check_cuda_memory(device, plan);
  embed_tokens = pack_weight(stream, weights.embed_tokens);
  if (!is_tied(weights)) own_lm_head = pack_linear(stream, weights.lm_head);
  norm = upload_vector(stream, weights.norm);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    layers.push_back(
        load_layer(stream, weights.layers[i], params.windows.at(i)));
  }
  make_counters(*this);
  decode = CudaDecode::make(*this, plan);
  stream.synchronize();
}

const int* CudaModel::tokens_of(long long pass) const {
  return host_tokens.as<const int>() +
         pass % cuda::kTokenSlots * cuda::kTokenSlotRows;
}

}  // namespace llamlx
