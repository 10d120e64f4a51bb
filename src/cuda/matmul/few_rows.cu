#include "cuda/matmul/few_rows_products.h"
#include "cuda/matmul/formats.h"

namespace llamlx::cuda {

#define LLAMLX_FEW_ROWS_KERNEL(name, ...)                           \
  LLAMLX_KERNEL(few_rows_##name, FewRowsArgs, kFewRowsThreads, 2) { \
    few_rows<__VA_ARGS__>(args);                                    \
  }

LLAMLX_FEW_ROWS_KERNEL(f32, DenseTile32)
LLAMLX_FORMATS_OF_16_BITS(LLAMLX_FEW_ROWS_KERNEL)

}  // namespace llamlx::cuda
