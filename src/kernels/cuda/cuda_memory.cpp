#include "kernels/cuda/cuda_memory.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "cuda/attention/few_rows.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/modules.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_expand.h"
#include "kernels/cuda/cuda_expert_plan.h"
#include "kernels/cuda/cuda_kv_cache.h"
#include "kernels/cuda/cuda_matrix.h"
#include "kernels/cuda/cuda_pass.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

/// Weights that are multiplied in one product.
using Product = std::vector<const Linear*>;

Product gates_of(const MlpWeights& mlp) {
  return {&mlp.gate_proj, &mlp.up_proj};
}

/// But for those of experts.
std::vector<Product> products_of(const DecoderLayer& layer) {
  const auto& [qkv, o_proj, mlp] = layer;
  std::vector<Product> products = {{&qkv.q_proj, &qkv.k_proj, &qkv.v_proj},
                                   {&o_proj}};
  if (mlp.router) return products;
  products.push_back(gates_of(mlp));
  products.push_back({&mlp.down_proj});
  return products;
}

std::size_t rows_of(const Product& product) {
  std::size_t rows = 0;
  for (const auto* linear : product) {
    rows += static_cast<std::size_t>(linear->weight.shape().at(0));
  }
  return rows;
}

std::size_t cols_of(const Product& product) {
  return static_cast<std::size_t>(product.front()->weight.shape().at(1));
}

/// Whether x beside it has a sum for each half of a tile's columns.
bool has_halves(const Weight& weight) {
  const auto& q = weight.quantization;
  return q && q->is_affine() && q->group_size < cuda::kTileCols;
}

/// Of a code; 0: there are none.
int bits_of(const Weight& weight) {
  return weight.quantization ? weight.quantization->bits : 0;
}

/// The layer's experts, of which there are some.
ExpertSizes sizes_of(const MlpWeights& mlp, const StackParams& params) {
  const auto gates = gates_of(mlp);
  const auto& down = mlp.down_proj.weight;
  const auto is_wide = [](const Weight& weight) {
    return !weight.quantization && weight.dtype() == mx::float32;
  };
  return {.experts = mlp.router->weight.shape().at(0),
          .used = params.experts.num_experts_per_tok,
          .hidden = static_cast<int>(cols_of(gates)),
          .inner = down.shape().at(1),
          .has_wide = is_wide(down) || is_wide(mlp.gate_proj.weight) ||
                      is_wide(mlp.up_proj.weight),
          .has_halves = has_halves(down),
          .bits = bits_of(down),
          .is_apart = !are_packed_together(gates)};
}

void add_product(const Product& product, Packing packing, int experts,
                 CudaMemoryPlan& plan) {
  plan.weights += packed_bytes(product, packing, experts);
  std::size_t plain = 0;
  for (const auto* linear : product) plain += linear->weight.nbytes();
  // The last layer is packed beside all others.
  plan.loading = std::max(plan.loading, plain);
}

void add_weights(const DecoderWeights& weights, CudaMemoryPlan& plan) {
  plan.weights = packed_bytes(weights.embed_tokens);
  if (!is_tied(weights)) plan.weights += packed_bytes(weights.lm_head.weight);
  for (const auto& layer : weights.layers) {
    for (const auto& product : products_of(layer)) {
      const bool are_gates = product.front() == &layer.mlp.gate_proj;
      add_product(product,
                  are_gates ? Packing::interleaved : Packing::side_by_side, 1,
                  plan);
    }
    if (!layer.mlp.router) continue;
    const auto router = layer.mlp.router->weight.shape();
    const int experts = router.at(0);
    plan.weights += sizeof(float) * static_cast<std::size_t>(experts) *
                    static_cast<std::size_t>(router.at(1));
    add_product(gates_of(layer.mlp), Packing::interleaved, experts, plan);
    add_product({&layer.mlp.down_proj}, Packing::side_by_side, experts, plan);
  }
}

/// The most that a layer's experts take.
ExpertBytes expert_bytes(const CudaDeviceInfo& device,
                         const DecoderWeights& weights,
                         const StackParams& params, cuda::NumberType compute,
                         std::size_t rows) {
  ExpertBytes most;
  for (const auto& layer : weights.layers) {
    if (!layer.mlp.router) continue;
    const auto its =
        expert_bytes(sizes_of(layer.mlp, params), static_cast<int>(rows),
                     compute, device.multiprocessors);
    most.own = std::max(most.own, its.own);
    most.operands = std::max(most.operands, its.operands);
    most.parts = std::max(most.parts, its.parts);
  }
  return most;
}

/// Of so many rows by some_rows: stages of x for a product and for the next,
/// and what the slices of a weight have.
std::size_t stages_bytes(const CudaDeviceInfo& device,
                         const DecoderWeights& weights, int rows, int planes,
                         const ExpertBytes& experts) {
  const int columns = cuda::some_rows_columns(rows);
  std::size_t stages = 0, parts = experts.parts;
  const auto add = [&](const Product& product) {
    const int row_blocks = ceil_div<int>(rows_of(product), cuda::kTileRows);
    const int tiles = ceil_div<int>(cols_of(product), cuda::kTileCols);
    const auto& weight = product.front()->weight;
    const cuda::OperandStage stage{8 * columns, planes,
                                   has_halves(weight) ? 32 : 64,
                                   stage_order(device, rows)};
    const int count = cuda::operand_stages(tiles);
    stages = std::max(stages, static_cast<std::size_t>(count) * stage.bytes());
    // Slices that are clusters need none.
    const bool are_clusters = stage.order == cuda::OperandOrder::fragments;
    const int parted = are_clusters ? 1 : columns;
    const int slice = cuda::some_rows_slice(
        row_blocks, tiles, cuda::some_rows_together(parted, bits_of(weight)),
        device.multiprocessors);
    parts =
        std::max(parts, cuda::some_rows_parts_bytes(
                            row_blocks, parted, ceil_div<int>(count, slice)));
  };
  for (const auto& layer : weights.layers) {
    for (const auto& product : products_of(layer)) add(product);
  }
  add({&weights.lm_head});
  // What comes before more rows' experts makes no operands for them.
  const bool has_next =
      rows <= kRowsOfAllGroups ||
      std::ranges::any_of(weights.layers,
                          [](const auto& layer) { return !layer.mlp.router; });
  return (has_next ? 2 : 1) * stages + parts;
}

/// Of many rows: numbers of 16 bits, of one product at a time and those that it
/// is handed (handed_operands()), and a weight of codes that is expanded to
/// such.
std::size_t operand_bytes(const CudaDeviceInfo& device,
                          const DecoderWeights& weights,
                          cuda::NumberType compute, std::size_t rows,
                          const ExpertBytes& experts) {
  std::size_t made = 0, handed = 0, expanded = 0;
  const auto add = [&](const Product& product, bool can_be_handed) {
    const auto& weight = product.front()->weight;
    const auto cols = cols_of(product);
    const bool is_handed =
        can_be_handed && has_warpgroups(device) &&
        compute == cuda::NumberType::bf16 && !weight.quantization &&
        weight.dtype() == mx::bfloat16 && cols % cuda::kTileCols == 0;
    auto& widest = is_handed ? handed : made;
    widest = std::max(widest, cols);
    // Warpgroups read codes as they are.
    if (!weight.quantization || has_warpgroups(device)) return;
    expanded = std::max(expanded, rows_of(product) * cols);
  };
  for (const auto& layer : weights.layers) {
    const auto products = products_of(layer);
    // What attention and gates answer goes to the second and the last.
    for (std::size_t i = 0; i < products.size(); ++i) {
      add(products[i], i % 2 == 1);
    }
  }
  return std::max(2 * rows * made, experts.operands) +
         2 * (rows * handed + expanded);
}

/// What products of so many rows need beside their weights.
std::size_t product_bytes(const CudaDeviceInfo& device,
                          const DecoderWeights& weights,
                          cuda::NumberType compute, std::size_t rows,
                          const ExpertBytes& experts) {
  const bool is_exact = compute == cuda::NumberType::f32;
  const auto most = static_cast<std::size_t>(cuda::kSomeRowsMost);
  if (rows == 1) return experts.parts;
  if (!is_exact && rows > most) {
    return operand_bytes(device, weights, compute, rows, experts);
  }
  return stages_bytes(device, weights, static_cast<int>(std::min(rows, most)),
                      is_exact ? 3 : 1, experts);
}

/// What a pass of so many rows has between its kernels: most of what
/// run_layers() and run_logits() reserve (cuda_pass.cpp).
std::size_t workspace_bytes(const CudaDeviceInfo& device,
                            const DecoderWeights& weights,
                            const StackParams& params, cuda::NumberType compute,
                            std::size_t rows) {
  const auto& heads = params.heads;
  const auto dim = static_cast<std::size_t>(heads.head_dim);
  const auto query = dim * static_cast<std::size_t>(heads.num_attention_heads);
  const auto key = dim * static_cast<std::size_t>(heads.num_key_value_heads);
  const auto hidden = cols_of({&weights.lm_head});
  std::size_t inner = 0;
  bool are_apart = false;
  for (const auto& layer : weights.layers) {
    if (layer.mlp.router) continue;
    inner = std::max(inner, cols_of({&layer.mlp.down_proj}));
    are_apart = are_apart || !are_packed_together(gates_of(layer.mlp));
  }
  const auto qkv = query + 2 * key;
  const auto floats = dim + hidden + qkv + query + (are_apart ? 3 : 1) * inner;
  const int splits = cuda::attention_few_splits(heads.num_key_value_heads,
                                                device.multiprocessors);
  const auto experts = expert_bytes(device, weights, params, compute, rows);
  return rows * (4 * floats + 2 * query) + experts.own +
         product_bytes(device, weights, compute, rows, experts) +
         4 * rows_of({&weights.lm_head}) +
         cuda::attention_few_parts_bytes(static_cast<int>(rows),
                                         heads.num_attention_heads, splits,
                                         heads.head_dim);
}

}  // namespace

std::size_t CudaMemoryPlan::most() const {
  return weights + std::max(loading, cache + workspace);
}

bool is_tied(const DecoderWeights& weights) {
  return weights.embed_tokens.data.id() == weights.lm_head.weight.data.id() &&
         !weights.lm_head.bias;
}

CudaMemoryPlan plan_cuda_memory(const CudaDeviceInfo& device,
                                const DecoderWeights& weights,
                                const StackParams& params,
                                cuda::NumberType compute,
                                cuda::NumberType cache) {
  CudaMemoryPlan plan;
  plan.tokens = std::max(1LL, params.expected_tokens);
  add_weights(weights, plan);
  plan.cache = CudaKVStore::bytes_for(kv_shape(params, cache), plan.tokens);
  const auto rows = std::min<long long>(plan.tokens, kCudaPrefillRows);
  plan.workspace = workspace_bytes(device, weights, params, compute,
                                   static_cast<std::size_t>(rows));
  if (cache == cuda::NumberType::q8 && compute != cuda::NumberType::f32 &&
      rows > cuda::kAttentionFewRows) {
    plan.workspace +=
        expanded_bytes(params, static_cast<int>(rows), plan.tokens);
  }
  return plan;
}

void check_cuda_memory(const CudaDeviceInfo& device,
                       const CudaMemoryPlan& plan) {
  const auto now = cuda_device_info();
  const auto free = now ? now->free_bytes : device.free_bytes;
  if (plan.most() <= free) return;
  const auto tokens =
      concat(plan.tokens, plan.tokens == 1 ? " token" : " tokens");
  fail(ErrorCode::out_of_memory, device.name,
       concat("the weights take ", human_size(plan.weights),
              ", keys and values of ", tokens, " ", human_size(plan.cache),
              ", a pass ", human_size(plan.workspace), ", and ",
              human_size(free), " of its memory are free"),
       "quantise the model (llamlx convert -q), ask for fewer tokens, or use "
       "the CPU (--device cpu)");
}

bool has_room_for_copies(std::size_t bytes, const CudaMemoryPlan& plan) {
  const auto now = cuda_device_info();
  if (!now) return false;
  const auto spare = now->memory_bytes / 10;
  return bytes + plan.cache + plan.workspace + spare <= now->free_bytes;
}

}  // namespace llamlx
