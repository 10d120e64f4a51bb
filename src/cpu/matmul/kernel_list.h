#pragma once

#include "cpu/matmul/matmul.h"

// The kernels, one a file. Each is ranked in registry.cpp.
namespace llamlx {

extern const MatmulKernel qmv_scalar;
#if defined(__x86_64__)
extern const MatmulKernel qmv_avx2;
extern const MatmulKernel qmv_avx512;
extern const MatmulKernel qmv_avx512_vnni;
#elif defined(__aarch64__)
extern const MatmulKernel qmv_neon;
#endif

}  // namespace llamlx
