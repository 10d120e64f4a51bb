#include "kernels/cuda/cuda_model.h"

#include <algorithm>
#include <stdexcept>

#include "base/concat.h"
#include "base/error.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"
#include "kernels/cuda/cuda_memory.h"

namespace llamlx {
namespace {

cuda::NumberType compute_type(mx::Dtype dtype) {
  if (dtype == mx::float32) return cuda::NumberType::f32;
  if (dtype == mx::float16) return cuda::NumberType::f16;
  if (dtype == mx::bfloat16) return cuda::NumberType::bf16;
  throw std::invalid_argument(
      concat("kernels do not compute in ", to_string(dtype)));
}

/// Refuses what kernels do not take, before anything is loaded.
void check_shapes(const CudaModel& model) {
  const auto refuse = [&](const std::string& what) {
    fail(ErrorCode::unsupported, model.device.name, what,
         "use the CPU (--device cpu)");
  };
  const int head_dim = model.params.heads.head_dim;
  if (head_dim % 8 != 0 || head_dim > 256) {
    refuse(concat("our kernels take heads of 8, 16, ... 256 numbers, not ",
                  head_dim));
  }
  for (const auto& layer : model.weights.layers) {
    if (layer.mlp.router) refuse("our kernels know no mixtures of experts");
    for (const auto* linear :
         {&layer.qkv.q_proj, &layer.o_proj, &layer.mlp.down_proj}) {
      const int cols = linear->weight.shape().at(1);
      if (cols % 4 == 0) continue;
      refuse(concat("our kernels take rows of a multiple of 4 numbers, not ",
                    cols));
    }
  }
}

CudaVector upload_optional(Stream& stream,
                           const std::optional<mx::array>& values) {
  return values ? upload_vector(stream, *values) : CudaVector{};
}

CudaMatrix pack_linear(Stream& stream, const Linear& layer) {
  const Linear* const layers[] = {&layer};
  return std::move(pack_linears(stream, layers, Packing::side_by_side).front());
}

CudaLayer load_layer(Stream& stream, const DecoderLayer& layer, int window) {
  const auto& [qkv, o_proj, mlp] = layer;
  const Linear* const projections[] = {&qkv.q_proj, &qkv.k_proj, &qkv.v_proj};
  const Linear* const gate_up[] = {&mlp.gate_proj, &mlp.up_proj};
  return {
      .input_layernorm = upload_vector(stream, qkv.input_layernorm),
      .qkv = pack_linears(stream, projections, Packing::side_by_side),
      .q_norm = upload_optional(stream, qkv.q_norm),
      .k_norm = upload_optional(stream, qkv.k_norm),
      .o_proj = pack_linear(stream, o_proj),
      .post_attention_layernorm =
          upload_vector(stream, mlp.post_attention_layernorm),
      .gate_up = pack_linears(stream, gate_up, Packing::interleaved),
      .down_proj = pack_linear(stream, mlp.down_proj),
      .window = window,
  };
}

/// As many counters as the largest kernel of a pass has.
void make_counters(CudaModel& model) {
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
  }
  auto* counters =
      model.space.counters.reserve<unsigned>(static_cast<std::size_t>(count));
  fill_zero(model.stream, counters, model.space.counters.bytes());
}

}  // namespace

CudaModel::CudaModel(DecoderWeights loaded, StackParams stack, mx::Dtype dtype)
    : device(cuda_device()),
      weights(std::move(loaded)),
      params(std::move(stack)),
      compute(compute_type(dtype)),
      host_tokens(sizeof(int) * cuda::kTokenSlots * cuda::kTokenSlotRows) {
  check_shapes(*this);
  check_cuda_memory(device, plan_cuda_memory(device, weights, params, compute));
  embed_tokens = pack_weight(stream, weights.embed_tokens);
  if (!is_tied(weights)) own_lm_head = pack_linear(stream, weights.lm_head);
  norm = upload_vector(stream, weights.norm);
  for (std::size_t i = 0; i < weights.layers.size(); ++i) {
    layers.push_back(
        load_layer(stream, weights.layers[i], params.windows.at(i)));
  }
  make_counters(*this);
  decode = CudaDecode::make(*this);
  stream.synchronize();
}

const int* CudaModel::tokens_of(long long pass) const {
  return host_tokens.as<const int>() +
         pass % cuda::kTokenSlots * cuda::kTokenSlotRows;
}

}  // namespace llamlx
