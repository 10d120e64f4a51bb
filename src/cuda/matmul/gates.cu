#include "cuda/matmul/gates.h"
#include "cuda/matmul/row_loads.h"

namespace llamlx::cuda {

LLAMLX_KERNEL(multiply_gates, GatesArgs, 256, 1) {
  wait_for_predecessor();
  let_successor_start();
  const long long at =
      static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (at >= static_cast<long long>(args.rows) * args.inner) return;
  const long long row = at / args.inner;
  const long long i = at % args.inner;
  const float* gates = args.gate_up + row * 2 * args.inner;
  args.out[at] =
      silu(load_fresh(gates + i)) * load_fresh(gates + args.inner + i);
}

}  // namespace llamlx::cuda
