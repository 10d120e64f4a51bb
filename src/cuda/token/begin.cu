#include "cuda/intrinsics.h"
#include "cuda/matmul/read_packed.h"
#include "cuda/token/begin.h"

namespace llamlx::cuda {

LLAMLX_KERNEL(begin_pass, BeginArgs, 256, 1) {
  wait_for_predecessor();
  let_successor_start();
  const int row = static_cast<int>(blockIdx.x);
  const int thread = static_cast<int>(threadIdx.x);
  const int threads = static_cast<int>(blockDim.x);
  int segment = 0;
  while (row >=
         args.segments[segment].first_row + args.segments[segment].length) {
    ++segment;
  }
  if (row == 0) {
    for (int i = thread; i < args.num_segments; i += threads) {
      args.segments_out[i] = args.segments[i];
    }
    if (thread == 0) *args.choice_out = args.choice;
  }
  const auto& mine = args.segments[segment];
  const double position =
      args.firsts[segment] + mine.offset + row - mine.first_row;
  const auto* periods =
      args.periods + static_cast<long long>(segment) * args.periods_stride;
  float* cos_out = args.cos_sin + static_cast<long long>(row) * 2 * args.pairs;
  for (int i = thread; i < args.pairs; i += threads) {
    // A float32 angle has few digits left at a late position.
    const double angle = position / static_cast<double>(periods[i]);
    cos_out[i] = args.rope_scale * static_cast<float>(cos(angle));
    cos_out[args.pairs + i] = args.rope_scale * static_cast<float>(sin(angle));
  }
  const int given = load_fresh(args.ids + row);
  const int id = given < 0 ? args.vocab - 1 : given;
  for (int i = thread; i < args.hidden; i += threads) {
    args.x[static_cast<long long>(row) * args.hidden + i] =
        read_packed(args.table, args.layout, args.tiles, id, i);
  }
}

}  // namespace llamlx::cuda
