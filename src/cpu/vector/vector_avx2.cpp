#include "cpu/simd/simd_avx2.h"
#include "cpu/vector/vector.inl.h"

namespace llamlx {

extern constinit const VectorKernels kVectorAvx2 =
    kernels_named("vector_avx2", Isa::avx2);

}  // namespace llamlx
