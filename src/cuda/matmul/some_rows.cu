#include "cuda/matmul/formats.h"
#include "cuda/matmul/some_rows_warps.h"

namespace llamlx::cuda {

#define LLAMLX_SOME_ROWS_KERNEL(name, columns, ...)                            \
  LLAMLX_KERNEL(some_rows_##name##_n##columns, SomeRowsArgs, kSomeRowsThreads, \
                some_rows_together(columns, __VA_ARGS__::layout().bits)) {     \
    using S = SomeRowsShape<__VA_ARGS__, columns, OperandOrder::rows>;         \
    some_rows<S, ProductsByWarps, SlicesInMemory>(args, shared_memory());      \
  }
#define LLAMLX_SOME_ROWS_KERNELS(name, ...)     \
  LLAMLX_SOME_ROWS_KERNEL(name, 1, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 2, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 4, __VA_ARGS__) \
  LLAMLX_SOME_ROWS_KERNEL(name, 8, __VA_ARGS__)

LLAMLX_FORMATS_OF_16_BITS(LLAMLX_SOME_ROWS_KERNELS)

}  // namespace llamlx::cuda
