#pragma once

namespace llamlx::cuda {

/// out = silu(gate) * up, where gate and up were two products: their weights
/// are of different formats.
///
/// Kernel   multiply_gates; a thread for every output: blocks of 256.
/// Shapes   gate_up [rows, 2 inner], gates first; out [rows, inner].
struct GatesArgs {
  const float* gate_up;
  int rows;
  int inner;
  float* out;
};

}  // namespace llamlx::cuda
