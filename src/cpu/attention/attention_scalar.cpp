#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

/// Rows, and vectors of each, that are summed at a time.
struct Shape {
  static constexpr int kRows = 4;
  static constexpr int kVectors = 4;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_fma.inl.h"

namespace llamlx {

extern constinit const AttentionKernel kAttentionScalar =
    kernel_named("attention_scalar", Isa::scalar);

}  // namespace llamlx
