#include "cpu/simd/simd_avx2.h"

namespace llamlx {
namespace {

/// 8 sums and 4 vectors of keys or values, of 16 registers.
struct Shape {
  static constexpr int kRows = 4;
  static constexpr int kVectors = 2;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_fma.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionAvx2 =
    kernel_named("attention_avx2", Isa::avx2);

}  // namespace llamlx
