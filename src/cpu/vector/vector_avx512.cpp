#include "cpu/simd/simd_avx512.h"
#include "cpu/vector/vector.inl.h"

namespace llamlx {

extern constinit const VectorKernels kVectorAvx512 =
    kernels_named("vector_avx512", Isa::avx512);

}  // namespace llamlx
