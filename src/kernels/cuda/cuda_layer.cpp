#include "kernels/cuda/cuda_layer.h"

#include <algorithm>

#include "base/concat.h"
#include "cuda/attention/many_rows_hopper.h"
#include "cuda/attention/turn.h"
#include "cuda/kernel.h"
#include "cuda/modules.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_expand.h"
#include "kernels/cuda/cuda_mlp.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

/// Attention of segments of few rows, with all that comes before it; whether
/// the answers are operands of the product that follows.
bool attend_few(const CudaPass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  cuda::AttentionFewArgs args{};
  args.segments = pass.space().segments.as<const cuda::SegmentView>();
  args.layer = layer;
  args.num_heads = heads.num_attention_heads;
  args.num_kv_heads = heads.num_key_value_heads;
  args.head_dim = heads.head_dim;
  args.window = weights.window;
  args.qkv = pass.space().qkv.as<const float>();
  args.q_norm = weights.q_norm.data();
  args.k_norm = weights.k_norm.data();
  args.eps = model.params.rms_norm_eps;
  args.cos_sin = pass.space().cos_sin.as<const float>();
  args.traditional = pass.traditional;
  args.out = pass.space().attended.as<float>();
  if (heads.head_dim % cuda::kTileCols == 0) {
    const auto target = operands_for(model, {&weights.o_proj}, pass.rows);
    args.next = target.next.stages;
    args.next_type = target.type;
  }
  args.parts = pass.space().parts.as<float>();
  args.counters = pass.space().counters.as<unsigned>();
  const auto name = concat("attention_few_", type_name(model.cached), "_d",
                           cuda::attention_padded_dim(heads.head_dim));
  launch(
      model.stream, cuda_kernel("attention/few_rows", name),
      {.grid_x = static_cast<unsigned>(heads.num_key_value_heads),
       .grid_y = static_cast<unsigned>(attention_splits(model, pass.segments)),
       .grid_z = static_cast<unsigned>(pass.segments),
       .block = cuda::kAttentionFewThreads,
       .shared_bytes = static_cast<unsigned>(
           cuda::attention_few_shared_bytes(model.cached, heads.head_dim))},
      args);
  return args.next.bytes != nullptr;
}

/// Norms and turns queries and keys, and appends to the caches.
void turn(const CudaPass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  cuda::TurnArgs args{};
  args.segments = pass.space().segments.as<const cuda::SegmentView>();
  args.layer = layer;
  args.num_heads = heads.num_attention_heads;
  args.num_kv_heads = heads.num_key_value_heads;
  args.head_dim = heads.head_dim;
  args.rows = pass.rows;
  args.qkv = pass.space().qkv.as<const float>();
  args.q_norm = weights.q_norm.data();
  args.k_norm = weights.k_norm.data();
  args.eps = model.params.rms_norm_eps;
  args.cos_sin = pass.space().cos_sin.as<const float>();
  args.traditional = pass.traditional;
  args.q = pass.space().queries.as<std::uint16_t>();
  const auto* cached = model.has_rounded_caches() ? "q8_" : "";
  launch(model.stream,
         cuda_kernel("attention/turn",
                     concat("turn_rows_", cached, type_name(model.compute))),
         {.grid_x = static_cast<unsigned>(pass.longest),
          .grid_y = static_cast<unsigned>(pass.segments),
          .block = cuda::kTurnThreads},
         args);
}

/// By warpgroups, or as many rows a block as keep the GPU busy.
struct AttentionShape {
  std::string kernel;
  int block_rows;
  unsigned threads;
  int shared_bytes;
};

AttentionShape attention_shape(const CudaPass& pass) {
  const auto& model = pass.model;
  const auto& heads = model.params.heads;
  const int dim = cuda::attention_padded_dim(heads.head_dim);
  const auto suffix = concat(type_name(model.compute), "_d", dim);
  if (has_warpgroups(model.device) &&
      cuda::attention_hopper_takes(heads.head_dim)) {
    return {concat("attention_hopper_", suffix), cuda::kAttentionHopperRows,
            cuda::kAttentionHopperThreads,
            cuda::attention_hopper_shared_bytes(heads.head_dim)};
  }
  const auto large_blocks = ceil_div<unsigned>(pass.longest, 128) *
                            static_cast<unsigned>(heads.num_attention_heads);
  const bool is_large = dim <= 128 && static_cast<int>(large_blocks) >=
                                          2 * model.device.multiprocessors;
  const int rows = is_large ? 128 : 64;
  return {concat("attention_many_", suffix, "_r", rows), rows,
          cuda::kAttentionManyThreads,
          cuda::attention_many_shared_bytes(heads.head_dim)};
}

/// Whether the answers are operands of the product that follows.
bool attend_many(const CudaPass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  const auto shape = attention_shape(pass);
  const auto num_heads = static_cast<unsigned>(heads.num_attention_heads);
  const auto row_blocks = ceil_div<unsigned>(pass.longest, shape.block_rows);
  const auto segments = static_cast<unsigned>(pass.segments);
  const bool is_hopper = shape.threads == cuda::kAttentionHopperThreads;
  const bool is_expanded = model.has_rounded_caches();
  const auto& views = is_expanded ? pass.space().expanded_caches.segments
                                  : pass.space().segments;
  const cuda::AttentionManyArgs args{
      views.as<const cuda::SegmentView>(),
      is_expanded ? 0 : layer,
      heads.num_attention_heads,
      heads.num_key_value_heads,
      heads.head_dim,
      weights.window,
      pass.rows,
      pass.space().queries.as<const std::uint16_t>(),
      pass.space().attended.as<float>(),
      pass.segments,
      static_cast<int>(row_blocks),
      is_hopper ? handed_operands(model, weights.o_proj, pass.rows) : nullptr};
  LaunchShape grid{.grid_x = num_heads,
                   .grid_y = row_blocks,
                   .grid_z = segments,
                   .block = shape.threads,
                   .shared_bytes = static_cast<unsigned>(shape.shared_bytes)};
  if (is_hopper) {
    const auto most = static_cast<unsigned>(model.device.multiprocessors);
    grid.grid_x = std::min(num_heads * row_blocks * segments, most);
    grid.grid_y = grid.grid_z = 1;
  }
  launch(model.stream,
         cuda_kernel(
             is_hopper ? "attention/many_rows_hopper" : "attention/many_rows",
             shape.kernel),
         grid, args);
  return args.operands != nullptr;
}

bool attend(const CudaPass& pass, int layer) {
  if (pass.has_few_rows()) return attend_few(pass, layer);
  turn(pass, layer);
  if (pass.model.has_rounded_caches()) {
    expand_cache(pass.model, layer, pass.segments);
  }
  return attend_many(pass, layer);
}

/// Queries, keys and values of all rows, side by side.
void project(const CudaPass& pass, const CudaLayer& layer,
             const ProductRows& x) {
  auto* out = pass.space().qkv.as<float>();
  for (const auto& matrix : layer.qkv) {
    multiply(pass.model, matrix, x,
             {out, pass.model.qkv_width(), cuda::Output::store});
    out += matrix.rows;
  }
}

/// What reads the residual stream first after a layer.
NextProduct next_of_layer(const CudaModel& model, std::size_t index) {
  if (index + 1 == model.layers.size()) return {};
  const auto& next = model.layers[index + 1];
  if (next.qkv.size() != 1) return {};
  return {&next.qkv.front(), &next.input_layernorm};
}

}  // namespace

int attention_splits(const CudaModel& model, int segments) {
  return cuda::attention_few_splits(
      model.params.heads.num_key_value_heads * segments,
      (segments > 1 ? 2 : 1) * model.device.multiprocessors);
}

bool run_layer(const CudaPass& pass, int index, bool are_operands) {
  auto& model = pass.model;
  auto& space = pass.space();
  const auto at = static_cast<std::size_t>(index);
  const auto& layer = model.layers[at];
  const float eps = model.params.rms_norm_eps;
  auto* x = space.x.as<float>();
  ProductTarget residual{x, model.hidden_size(), cuda::Output::add};
  project(pass, layer,
          {x, pass.rows, &layer.input_layernorm, eps, are_operands});
  are_operands = attend(pass, index);
  residual.next = first_of_mlp(model, layer, pass.rows);
  are_operands = multiply(model, layer.o_proj,
                          {.x = space.attended.as<const float>(),
                           .rows = pass.rows,
                           .are_operands = are_operands},
                          residual);
  residual.next = next_of_layer(model, at);
  return run_mlp(
      model, layer,
      {x, pass.rows, &layer.post_attention_layernorm, eps, are_operands},
      residual);
}

}  // namespace llamlx
