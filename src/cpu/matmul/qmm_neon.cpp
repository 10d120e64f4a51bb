#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

// 16 sums; 10 loads for 16 products.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 2;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_f32.inl.h"

namespace llamlx {

const MatmulKernel qmm_neon{"qmm_neon",     Isa::neon,    1,
                            INT_MAX,        kRowStep,     supports,
                            prepared_bytes, prepare_rows, scratch_bytes,
                            multiply_rows};

}  // namespace llamlx
