#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

/// 16 sums and 4 vectors of keys or values, of 32 registers.
struct Shape {
  static constexpr int kRows = 8;
  static constexpr int kVectors = 2;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_fma.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionAvx512 =
    kernel_named("attention_avx512", Isa::avx512);

}  // namespace llamlx
