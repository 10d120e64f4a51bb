#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

/// 16 sums and 8 vectors of keys or values, of 32 registers.
struct Shape {
  static constexpr int kRows = 4;
  static constexpr int kVectors = 4;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_fma.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionNeon =
    kernel_named("attention_neon", Isa::neon);

}  // namespace llamlx
