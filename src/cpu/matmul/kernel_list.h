#pragma once

#include "cpu/matmul/matmul.h"

// The kernels, one a file. Each is ranked in registry.cpp.
namespace llamlx {

extern const MatmulKernel qmv_scalar;
extern const MatmulKernel qmm_scalar;
#if defined(__x86_64__)
extern const MatmulKernel qmv_avx2;
extern const MatmulKernel qmv_avx512;
extern const MatmulKernel qmv_avx512_vnni;
extern const MatmulKernel qmm_avx2;
extern const MatmulKernel qmm_avx512;
extern const MatmulKernel qmm_avx512_bf16;
extern const MatmulKernel qmm_amx;
extern const MatmulKernel qmm_f16_amx;
#elif defined(__aarch64__)
extern const MatmulKernel qmv_neon;
extern const MatmulKernel qmv_neon_dotprod;
extern const MatmulKernel qmv_neon_i8mm;
extern const MatmulKernel qmm_neon;
extern const MatmulKernel qmm_neon_bf16;
#endif

}  // namespace llamlx
