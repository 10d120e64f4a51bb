#pragma once

#include "cuda/attention/few_rows_block.h"
#include "cuda/decode/decode.h"
#include "cuda/decode/exchange.h"
#include "cuda/decode/meet.h"

namespace llamlx::cuda {

static_assert(kDecodeComputing == kAttentionFewThreads);

/// A key/value head and split, for a block of decode.cu.
struct DecodeSite {
  int its_kv_head;
  int its_split;
  int all_splits;
  unsigned char* its_memory;
  int its_thread;
  Mark mark;

  __device__ int kv_head() const { return its_kv_head; }
  __device__ int split() const { return its_split; }
  __device__ int splits() const { return all_splits; }
  __device__ int segment() const { return 0; }
  __device__ unsigned char* memory() const { return its_memory; }
  __device__ int thread() const { return its_thread; }
  __device__ void meet() const { meet_computing(); }
  __device__ Duo load(const float* projected) const {
    const auto words = await_words<Words2>(projected, mark);
    return {__uint_as_float(words.w[0]), __uint_as_float(words.w[1])};
  }
  __device__ void store(const AttentionFewArgs& args, int row, int col,
                        bool is_there, const Floats4& values) const {
    if (is_there) publish(answer(args, row, col)->f, values, mark);
  }
};

template <typename T, int kDim>
__device__ void attend_split(const AttentionFewArgs& args,
                             const SegmentView& segment,
                             const DecodeSite& site) {
  const Split split(args, segment, site.split(), site.splits());
  if (!split.is_used()) return;
  FewAttention<T, kDim, DecodeSite> attention(args, segment, split, site);
  attention.ask();
  attention.run();
}

/// The attention of a layer: key/value heads and splits among all blocks. T:
/// the cache's type.
template <typename T>
class DecodeAttention {
 public:
  __device__ explicit DecodeAttention(const DecodeArgs& args)
      : args_(args),
        block_(static_cast<int>(blockIdx.x)),
        blocks_(static_cast<int>(gridDim.x)) {}

  __device__ float* cos_sin() const {
    return args_.cos_sin + block_ * args_.head_dim;
  }

  /// Asks for what of the cache the layer will look at.
  __device__ void bring_cache_near(const DecodeLayer& layer, int index) const {
    const auto few = few_args(layer, index);
    for_each_unit([&](int kv_head, int its_split, int splits) {
      const Split split(few, args_.segment, its_split, splits);
      if (!split.is_used()) return;
      const CachedHead<T> cache(args_.segment, index, args_.num_kv_heads,
                                kv_head, args_.head_dim);
      bring_positions_near(cache, split.begin, split.end, thread_now());
    });
  }

  __device__ void run(const DecodeLayer& layer, int index, Mark mark) const {
    const auto few = few_args(layer, index);
    for_each_unit([&](int kv_head, int split, int splits) {
      const DecodeSite site{kv_head,      split,
                            splits,       shared_memory() + args_.memory.input,
                            thread_now(), mark};
      if (args_.head_dim <= 64) {
        attend_split<T, 64>(few, args_.segment, site);
      } else {
        attend_split<T, 128>(few, args_.segment, site);
      }
      meet_computing();
    });
  }

 private:
  /// Key/value heads and splits that are this block's.
  template <typename Attend>
  __device__ void for_each_unit(const Attend& attend) const {
    for (int unit = block_; unit < args_.splits * args_.num_kv_heads;
         unit += blocks_) {
      const int split = args_.by_kv_heads.divide(unit);
      attend(unit - split * args_.num_kv_heads, split, args_.splits);
    }
  }

  const DecodeArgs& args_;
  int block_;
  int blocks_;

  __device__ AttentionFewArgs few_args(const DecodeLayer& layer,
                                       int index) const {
    AttentionFewArgs few{};
    few.layer = index;
    few.num_heads = args_.num_heads;
    few.num_kv_heads = args_.num_kv_heads;
    few.head_dim = args_.head_dim;
    few.window = static_cast<int>(layer.window);
    few.qkv = args_.exchange.qkv;
    few.q_norm = layer.q_norm;
    few.k_norm = layer.k_norm;
    few.eps = args_.eps;
    few.cos_sin = cos_sin();
    few.traditional = args_.traditional;
    few.out = args_.exchange.attended;
    few.parts = args_.parts;
    few.counters = args_.counters;
    return few;
  }
};

}  // namespace llamlx::cuda
