#pragma once

#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/stages.h"

namespace llamlx::cuda {

/// Four numbers of a row from column `col` on, a multiple of 4.
__device__ inline void put_quad(const Stages& out, int plane, int row, int col,
                                std::uint32_t low, std::uint32_t high) {
  if (out.stage.order == OperandOrder::rows) {  // they lie together
    *reinterpret_cast<Words2*>(out.number(plane, row, col)) = {{low, high}};
    return;
  }
  *reinterpret_cast<std::uint32_t*>(out.number(plane, row, col)) = low;
  *reinterpret_cast<std::uint32_t*>(out.number(plane, row, col + 2)) = high;
}

/// Makes operands of four columns of a row from `col` on, of which there are
/// tiles: by a whole warp, of which 16 lanes have a tile of a row.
template <typename Operand>
__device__ void write_quad(const Stages& out, int row, int col, bool is_there,
                           Floats4 v) {
  const auto& stage = out.stage;
  if (stage.group == 0) {
    if (!is_there) return;
    put_quad(out, 0, row, col, pack(Operand{}, v.f[0], v.f[1]),
             pack(Operand{}, v.f[2], v.f[3]));
    return;
  }
  float largest = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) largest = fmaxf(largest, fabsf(v.f[j]));
#pragma unroll
  for (int step = 1; step < kTileCols / 4; step *= 2) {
    largest = fmaxf(largest, __shfl_xor_sync(kAllLanes, largest, step));
  }
  const float range = range_scale(largest);
#pragma unroll
  for (int j = 0; j < 4; ++j) v.f[j] *= range;
  const auto whole = v;
#pragma unroll 1
  for (int plane = 0; plane < stage.planes; ++plane) {
    const auto low = split2<Operand>(v.f[0], v.f[1]);
    const auto high = split2<Operand>(v.f[2], v.f[3]);
    if (is_there) put_quad(out, plane, row, col, low, high);
  }
  float sum = 0;
#pragma unroll
  for (int j = 0; j < 4; ++j) sum += whole.f[j] - v.f[j];
#pragma unroll
  for (int step = 1; step < 8; step *= 2) {
    sum += __shfl_xor_sync(kAllLanes, sum, step);
  }
  const float other = __shfl_xor_sync(kAllLanes, sum, 8);
  if (stage.group == 64) sum += other;
  if (!is_there || (col & (stage.group - 1)) != 0) return;
  auto* facts = out.scale(row, col);
  const float inverse = inverse_range(range);
  facts[0] = inverse;
  facts[2] = sum * inverse;
}

}  // namespace llamlx::cuda
