#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_avx2.h"

namespace llamlx {
namespace {

// 8 sums, as many as two units with a latency of 4 keep busy; 16 registers.
constexpr int kTileRows = 4;
constexpr int kTileVectors = 2;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_f32.inl.h"

namespace llamlx {

const MatmulKernel qmm_avx2{"qmm_avx2",     Isa::avx2,    1,
                            INT_MAX,        kRowStep,     supports,
                            prepared_bytes, prepare_rows, scratch_bytes,
                            multiply_rows};

}  // namespace llamlx
