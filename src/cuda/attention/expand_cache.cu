#include "cuda/attention/code_pair.h"
#include "cuda/attention/expand_cache.h"
#include "cuda/attention/segment_access.h"

namespace llamlx::cuda {
namespace {

/// Four numbers of a group.
template <typename T>
__device__ Words2 expand_codes(std::uint32_t codes, float scale) {
  Words2 numbers;
#pragma unroll
  for (int i = 0; i < 2; ++i) {
    const auto both = code_pair(codes, i == 0 ? Pair::low : Pair::high);
    const float x = unpack(Bf16{}, static_cast<std::uint16_t>(both));
    const float y = unpack(Bf16{}, static_cast<std::uint16_t>(both >> 16));
    numbers.w[i] = pack(T{}, x * scale, y * scale);
  }
  return numbers;
}

/// Eight numbers at a time.
template <typename T>
__device__ void expand_cache(const ExpandCacheArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const auto segment = load_segment(args.segments + blockIdx.z);
  if (segment.length == 0) return;
  const int seen =
      args.window > 0 ? larger(0, segment.offset + 1 - args.window) : 0;
  const int first = seen + static_cast<int>(blockIdx.x) * kExpandCachePositions;
  const int end =
      smaller(segment.offset + segment.length, first + kExpandCachePositions);
  const bool is_key = static_cast<int>(blockIdx.y) < args.num_kv_heads;
  const int head =
      static_cast<int>(blockIdx.y) - (is_key ? 0 : args.num_kv_heads);
  const CachedHead<Q8> from(segment, args.layer, args.num_kv_heads, head,
                            args.head_dim);
  const auto expanded = load_segment(args.expanded + blockIdx.z);
  const CachedHead<T> to(expanded, 0, args.num_kv_heads, head, args.head_dim);
  auto* rows = is_key ? to.keys : to.values;
  const int behind = segment.offset - expanded.offset;
  const int octets = args.head_dim / 8;  // of a row
  for (int i = static_cast<int>(threadIdx.x); i < (end - first) * octets;
       i += kExpandCacheThreads) {
    const int position = first + i / octets;
    const int col = i % octets * 8;
    const auto codes = load_fresh(
        reinterpret_cast<const Words2*>(from.codes(is_key, position) + col));
    const float scale =
        load_fresh(from.scales(is_key, position) + col / kCacheGroup);
    const auto low = expand_codes<T>(codes.w[0], scale);
    const auto high = expand_codes<T>(codes.w[1], scale);
    auto* row = rows + static_cast<long long>(position - behind) * to.row_bytes;
    *reinterpret_cast<Words4*>(row + 2 * col) = {
        {low.w[0], low.w[1], high.w[0], high.w[1]}};
  }
}

}  // namespace

LLAMLX_KERNEL(expand_cache_f16, ExpandCacheArgs, kExpandCacheThreads, 4) {
  expand_cache<F16>(args);
}
LLAMLX_KERNEL(expand_cache_bf16, ExpandCacheArgs, kExpandCacheThreads, 4) {
  expand_cache<Bf16>(args);
}

}  // namespace llamlx::cuda
