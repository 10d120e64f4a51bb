#include "cpu/simd/simd_scalar.h"
#include "cpu/vector/vector.inl.h"

namespace llamlx {

extern constinit const VectorKernels kVectorScalar =
    kernels_named("vector_scalar", Isa::scalar);

}  // namespace llamlx
