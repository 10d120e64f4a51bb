#pragma once

#include "cuda/matmul/float_tile.h"
#include "cuda/matmul/weight_tile.h"

/// The formats that kernels are made for.

/// KERNELS(name, Tile) for every affine format.
#define LLAMLX_AFFINE_FORMATS(KERNELS) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 2) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 3) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 4) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 5) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 6) \
  LLAMLX_AFFINE_FORMATS_OF(KERNELS, 8)
#define LLAMLX_AFFINE_FORMATS_OF(KERNELS, bits)                \
  KERNELS(affine##bits##_g32_f32, AffineTile<bits, 32, F32>)   \
  KERNELS(affine##bits##_g32_f16, AffineTile<bits, 32, F16>)   \
  KERNELS(affine##bits##_g32_bf16, AffineTile<bits, 32, Bf16>) \
  KERNELS(affine##bits##_g64_f32, AffineTile<bits, 64, F32>)   \
  KERNELS(affine##bits##_g64_f16, AffineTile<bits, 64, F16>)   \
  KERNELS(affine##bits##_g64_bf16, AffineTile<bits, 64, Bf16>)
/// For those whose codes are numbers.
#define LLAMLX_FLOAT_FORMATS(KERNELS) \
  KERNELS(nvfp4, FloatTile<4, 16>)    \
  KERNELS(mxfp8, FloatTile<8, 32>)
/// For every format whose products are of 16 bits.
#define LLAMLX_FORMATS_OF_16_BITS(KERNELS) \
  KERNELS(f16, DenseTile<F16>)             \
  KERNELS(bf16, DenseTile<Bf16>)           \
  LLAMLX_AFFINE_FORMATS(KERNELS)           \
  LLAMLX_FLOAT_FORMATS(KERNELS)
