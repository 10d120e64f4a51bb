#include "kernels/cuda/cuda_expand.h"

#include <algorithm>
#include <vector>

#include "base/concat.h"
#include "cuda/attention/expand_cache.h"
#include "cuda/cached_rows.h"
#include "cuda/kernel.h"
#include "cuda/token/begin.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_kv_cache.h"

namespace llamlx {
namespace {

// Of either type that has 16 bits.
constexpr auto kExpanded = cuda::NumberType::bf16;

std::size_t bytes_of(const HeadLayout& heads, long long positions) {
  return 2 * static_cast<std::size_t>(heads.num_key_value_heads) *
         static_cast<std::size_t>(
             cuda::cached_head_bytes(kExpanded, heads.head_dim, positions));
}

/// Of so many positions, those that `rows` rows at the end see.
long long positions_seen(int window, int rows, long long positions) {
  if (window == 0) return positions;
  return std::min(positions, window - 1LL + rows);
}

}  // namespace

std::size_t expanded_bytes(const StackParams& params, int rows,
                           long long tokens) {
  auto shape = kv_shape(params, kExpanded);
  shape.num_layers = 1;
  const auto all = CudaKVStore::bytes_for(shape, tokens);
  if (shape.window == 0) return all;
  return std::min(all, bytes_of(params.heads, shape.window - 1LL + rows));
}

void reserve_expanded(CudaModel& model,
                      std::span<const cuda::SegmentView> segments) {
  const auto& heads = model.params.heads;
  const int window = kv_shape(model.params, kExpanded).window;
  auto& space = model.space.expanded_caches;
  std::size_t bytes = 0;
  for (const auto& segment : segments) {
    // As much as the cache has room for, so that it seldom grows.
    bytes += bytes_of(heads,
                      positions_seen(window, segment.length, segment.capacity));
  }
  auto* next = space.numbers.reserve<unsigned char>(bytes);
  std::vector<cuda::SegmentView> views;
  space.most_positions = 0;
  for (const auto& segment : segments) {
    const auto seen = static_cast<int>(positions_seen(
        window, segment.length, segment.offset + segment.length));
    views.push_back({next, 0, seen, seen - segment.length, segment.first_row,
                     segment.length});
    space.most_positions = std::max(space.most_positions, seen);
    next += bytes_of(heads, seen);
  }
  auto* to = space.segments.reserve<cuda::SegmentView>(cuda::kMostSegments);
  upload(model.stream, to, views.data(), views.size() * sizeof views.front());
}

void expand_cache(CudaModel& model, int layer, int segments) {
  const auto& heads = model.params.heads;
  const auto& space = model.space;
  const auto& expanded = space.expanded_caches;
  const cuda::ExpandCacheArgs args{
      .segments = space.segments.as<const cuda::SegmentView>(),
      .expanded = expanded.segments.as<const cuda::SegmentView>(),
      .layer = layer,
      .num_kv_heads = heads.num_key_value_heads,
      .head_dim = heads.head_dim,
      .window = model.layers[static_cast<std::size_t>(layer)].window};
  launch(model.stream,
         cuda_kernel("attention/expand_cache",
                     concat("expand_cache_", type_name(model.compute))),
         {.grid_x = ceil_div<unsigned>(expanded.most_positions,
                                       cuda::kExpandCachePositions),
          .grid_y = static_cast<unsigned>(2 * heads.num_key_value_heads),
          .grid_z = static_cast<unsigned>(segments),
          .block = cuda::kExpandCacheThreads},
         args);
}

}  // namespace llamlx
