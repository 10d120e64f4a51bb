#pragma once

#include "cuda/matmul/many_rows.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {

/// Of one lane: rows g and g + 8 of a block, for one of a block's `rows` of x.
template <typename Rows>
__device__ void write_pair(const ManyRowsArgs& args, const Rows& rows,
                           int block, int token, float first, float second) {
  if (!rows.is_there(token)) return;
  const int g = static_cast<int>(threadIdx.x) % kWarpSize / 4;
  const float scale = args.scales[rows.row(token)];
  auto* out = args.out + static_cast<long long>(token) * args.out_stride;
  const auto value = [&](int n, float sum) {
    const bool is_biased = args.bias != nullptr && n < args.out_rows;
    return sum * scale + (is_biased ? args.bias[n] : 0);
  };
  const int n = block * kTileRows + g;
  if (args.output == Output::swiglu) {
    if (2 * (block * 8 + g) >= args.out_rows) return;
    out[block * 8 + g] = silu(value(n, first)) * value(n + 8, second);
    return;
  }
  const auto write = [&](int row, float sum) {
    if (row >= args.out_rows) return;
    const float y = value(row, sum);
    out[row] = args.output == Output::add ? load_fresh(out + row) + y : y;
  };
  write(n, first);
  write(n + 8, second);
}

}  // namespace llamlx::cuda
