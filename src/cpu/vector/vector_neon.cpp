#include "cpu/simd/simd_neon.h"
#include "cpu/vector/vector.inl.h"

namespace llamlx {

extern constinit const VectorKernels kVectorNeon =
    kernels_named("vector_neon", Isa::neon);

}  // namespace llamlx
