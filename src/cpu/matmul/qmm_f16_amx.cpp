#include <climits>

#include "cpu/matmul/amx_tiles.h"
#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

constexpr int kPlanes = 2;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_amx.inl.h"

namespace llamlx {

const MatmulKernel qmm_f16_amx{"qmm_f16_amx",  Isa::amx,     1,
                               INT_MAX,        kRowStep,     supports,
                               prepared_bytes, prepare_rows, scratch_bytes,
                               multiply_rows};

}  // namespace llamlx
