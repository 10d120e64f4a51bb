#pragma once

#include "cpu/attention/attention.h"

namespace llamlx {

/// Whether a kernel, on a small case of this type and size of heads, comes as
/// near to a plain computation in float64 as its arithmetic allows. Runs the
/// kernel: this machine has its instructions.
bool reproduces_reference(const AttentionKernel& kernel, ValueType type,
                          int head_dim);

}  // namespace llamlx
