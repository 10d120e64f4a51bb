#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

// As the compiler's own vectors of four take it.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 4;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_f32.inl.h"

namespace llamlx {

const MatmulKernel qmm_scalar{"qmm_scalar",   Isa::scalar,  1,
                              INT_MAX,        kRowStep,     supports,
                              prepared_bytes, prepare_rows, scratch_bytes,
                              multiply_rows};

}  // namespace llamlx
