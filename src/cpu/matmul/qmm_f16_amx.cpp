#include <climits>

#include "cpu/matmul/amx_tiles.h"
#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

constexpr int kPlanes = 2;
constexpr int kBlockWords = 256;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_amx.inl.h"

namespace llamlx {
namespace {

bool supports(const WeightFormat& format, int cols, ValueType compute) {
  return compute == ValueType::f16 && supports_format(format, cols);
}

}  // namespace

const MatmulKernel qmm_f16_amx{"qmm_f16_amx",  Isa::amx,     1,
                               INT_MAX,        kRowStep,     supports,
                               prepared_bytes, prepare_rows, scratch_bytes,
                               multiply_rows};

}  // namespace llamlx
