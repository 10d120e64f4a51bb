#include <climits>

#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

constexpr int kPlanes = 1;
constexpr int kBlockWords = 512;
// 16 sums; 10 loads for 16 products.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 2;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_bf16.inl.h"
#include "cpu/matmul/qmm_lanes.inl.h"
#include "cpu/matmul/qmm_tiles.inl.h"

namespace llamlx {
namespace {

bool supports(const WeightFormat& format, int cols, ValueType compute) {
  return compute == ValueType::bf16 && supports_format(format, cols);
}

}  // namespace

const MatmulKernel qmm_avx512_bf16{
    "qmm_avx512_bf16", Isa::avx512_bf16, 1,
    INT_MAX,           kRowStep,         supports,
    prepared_bytes,    prepare_rows,     scratch_bytes,
    multiply_rows};

}  // namespace llamlx
