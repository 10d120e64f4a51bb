#include "cuda/attention/few_rows_block.h"

namespace llamlx::cuda {
namespace {

template <typename T, int kDim>
__device__ void attention_few(const AttentionFewArgs& args) {
  const auto segment = load_segment(args.segments + blockIdx.z);
  const Split split(args, segment, static_cast<int>(blockIdx.y),
                    static_cast<int>(gridDim.y));
  // The first is always used, so that some block waits.
  if (!split.is_used()) return;
  FewAttention<T, kDim> attention(args, segment, split);
  attention.ask();
  wait_for_predecessor();
  let_successor_start();
  attention.run();
}

}  // namespace

#define LLAMLX_ATTENTION_FEW(type, Type, dim, blocks)            \
  LLAMLX_KERNEL(attention_few_##type##_d##dim, AttentionFewArgs, \
                kAttentionFewThreads, blocks) {                  \
    attention_few<Type, dim>(args);                              \
  }

LLAMLX_ATTENTION_FEW(f32, F32, 64, 1)
LLAMLX_ATTENTION_FEW(f32, F32, 128, 1)
LLAMLX_ATTENTION_FEW(f32, F32, 256, 1)
LLAMLX_ATTENTION_FEW(f16, F16, 64, 2)
LLAMLX_ATTENTION_FEW(f16, F16, 128, 2)
LLAMLX_ATTENTION_FEW(f16, F16, 256, 1)
LLAMLX_ATTENTION_FEW(bf16, Bf16, 64, 2)
LLAMLX_ATTENTION_FEW(bf16, Bf16, 128, 2)
LLAMLX_ATTENTION_FEW(bf16, Bf16, 256, 1)
LLAMLX_ATTENTION_FEW(q8, Q8, 64, 2)
LLAMLX_ATTENTION_FEW(q8, Q8, 128, 2)
LLAMLX_ATTENTION_FEW(q8, Q8, 256, 1)

#undef LLAMLX_ATTENTION_FEW

}  // namespace llamlx::cuda
