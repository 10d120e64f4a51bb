#pragma once

#include <string_view>
#include <vector>

#include "cpu/isa.h"
#include "cpu/weight_view.h"

namespace llamlx {

/// What is done to one row of numbers, for one instruction set. Memory is
/// aligned for its element, no more; any length >= 0; `out` may be an input.
/// Threads  pure but for the memory they are given.
struct VectorKernels {
  std::string_view name;  ///< "vector_avx512"
  Isa isa;

  /// out = x / sqrt(mean(x^2) + eps) * weight; `weight` [n] of `type`. The
  /// squares are summed in many lanes.
  void (*rms_norm)(const float* x, const void* weight, ValueType type, int n,
                   float eps, float* out);

  /// Turns one head in place: a pair (a, b) becomes (a cos - b sin,
  /// b cos + a sin). `traditional`: neighbours pair; else element i with
  /// i + head_dim / 2. cos, sin [head_dim / 2] (rope_table).
  void (*rope)(float* head, const float* cos, const float* sin, int head_dim,
               bool traditional);

  /// out = silu(gate) * up.
  void (*silu_mul)(const float* gate, const float* up, int n, float* out);

  /// out = a + b.
  void (*add)(const float* a, const float* b, int n, float* out);

  /// x += bias; `bias` [n] of `type`.
  void (*add_bias)(float* x, const void* bias, ValueType type, int n);

  /// x *= factor.
  void (*scale)(float* x, float factor, int n);

  /// Numbers of `type` to float32, exactly.
  void (*to_float)(const void* p, ValueType type, int n, float* out);

  /// float32 to `type`, to nearest, ties to even.
  void (*round_to)(const float* x, int n, ValueType type, void* out);

  /// The index of the first largest value; -1 when a value is not finite, or
  /// there is none.
  int (*argmax)(const float* x, int n);

  /// An index drawn from softmax(factor * x), factor > 0: the first at which
  /// the sum of the probabilities up to it passes `uniform`, in [0, 1), but for
  /// rounding; never one whose probability is 0. -1 as argmax.
  int (*draw)(const float* x, int n, float factor, double uniform);

  /// Row `row` of a weight of any format, as float32 [w.cols].
  void (*dequantize_row)(const WeightView& w, int row, float* out);
};

/// Those of the last instruction set up to active_isa() that has some.
/// Errors: as active_isa(). Threads: any.
const VectorKernels& vector_kernels();

/// All of this architecture, supported here or not.
std::vector<const VectorKernels*> all_vector_kernels();

/// The cosines and sines of a position's angles, times `scale`: pair i turns by
/// position / periods[i]. Computed in float64, as a float32 angle has few
/// digits left at a late position.
///
/// Shapes   periods, cos, sin [pairs].
void rope_table(double position, const float* periods, int pairs, float scale,
                float* cos, float* sin);

}  // namespace llamlx
