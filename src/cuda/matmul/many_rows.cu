#include "cuda/matmul/many_rows_products.h"

namespace llamlx::cuda {
namespace {

template <typename T>
__device__ void many_rows(const ManyRowsArgs& args) {
  const int first = static_cast<int>(blockIdx.x) * kManyRowsTokens;
  many_rows<DenseTile<T>>(args, RowsInOrder{first, args.rows},
                          static_cast<int>(blockIdx.y), shared_memory());
}

}  // namespace

LLAMLX_KERNEL(many_rows_f16, ManyRowsArgs, kManyRowsThreads, 1) {
  many_rows<F16>(args);
}
LLAMLX_KERNEL(many_rows_bf16, ManyRowsArgs, kManyRowsThreads, 1) {
  many_rows<Bf16>(args);
}

}  // namespace llamlx::cuda
