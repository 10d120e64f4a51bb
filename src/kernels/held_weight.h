#pragma once

#include "tensor/weight.h"

namespace llamlx {

/// How MLX's ops hold a weight that is stored as `stored`: packed as it is, its
/// values of the type that is computed in.
ValueFormat held_by_ops(const ValueFormat& stored, mx::Dtype compute);

/// How our own kernels do. They read every type, so that values stay as they
/// are stored, or become the smaller type that is computed in; and of packed
/// weights the affine ones. mxfp4 is held as affine codes of 5 bits, mxfp8 and
/// nvfp4 as bfloat16: all have the same values there.
ValueFormat held_by_kernels(const ValueFormat& stored, mx::Dtype compute);

/// How those for NVIDIA's GPUs do: mxfp8 and nvfp4 stay as they are stored.
ValueFormat held_by_cuda_kernels(const ValueFormat& stored, mx::Dtype compute);

/// Whether those kernels read a weight that stays so: scales of mxfp8 up to 2^7
/// and of nvfp4 below 4, none of them negative, and nothing that is NaN. Others
/// have to be held as bfloat16; no model is known that has such. Looks at all
/// of it, on all threads.
bool is_read_by_cuda_kernels(const Weight& weight);

/// `weight` as one of these says. Lazy where it stays packed, or dense, as it
/// is; else computed at once, on all threads.
Weight hold(const Weight& weight, const ValueFormat& format);

}  // namespace llamlx
