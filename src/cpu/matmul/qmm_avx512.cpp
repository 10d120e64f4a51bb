#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

// 16 sums; 10 loads for 16 products.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 2;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_f32.inl.h"

namespace llamlx {

const MatmulKernel qmm_avx512{"qmm_avx512",   Isa::avx512,  1,
                              INT_MAX,        kRowStep,     supports,
                              prepared_bytes, prepare_rows, scratch_bytes,
                              multiply_rows};

}  // namespace llamlx
