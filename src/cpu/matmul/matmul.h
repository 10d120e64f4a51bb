#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "cpu/isa.h"
#include "cpu/weight_view.h"

namespace llamlx {

/// A way to compute y = x w^T: y[i][n] = sum over k of x[i][k] * w[n][k], with
/// rows x [M, K] in float32, a weight w [N, K], and sums in float32.
///
/// The rows are first prepared (ordered, rounded, packed as the kernel reads
/// them) and then multiplied with any rows of any weight of the same format and
/// K. Every y[i][n] is computed in the same way whatever range of rows of w it
/// comes in: any split of the work over threads gives the same bits.
///
/// Accuracy  `compute` says what products may do to their operands: f32: each
/// product is exact to float32's rounding; bf16 (f16): operands may be rounded
/// to 8 (11) bits, or to anything finer. Activations rounded to one plane of
/// int8 are not fine enough; two planes (about 15 bits of the largest of a
/// group) are.
/// Threads  functions are pure but for the memory they are given.
struct MatmulKernel {
  std::string_view name;  ///< "qmv_avx512_vnni"
  Isa isa;
  int min_rows;  ///< of x: M is in [min_rows, max_rows]
  int max_rows;
  int row_step;  ///< ranges of w's rows begin at multiples of this

  bool (*supports)(const WeightFormat& format, int cols, ValueType compute);

  /// Bytes of the prepared rows, of which prepare() fills its share.
  std::size_t (*prepared_bytes)(const WeightFormat& format, int rows, int cols);

  /// Prepares rows [begin, end) of `x` [rows, cols], which are `x_stride`
  /// floats apart. `begin` is a multiple of 16. `prepared` is aligned to 64.
  void (*prepare)(const WeightFormat& format, const float* x, int x_stride,
                  int rows, int cols, int begin, int end, void* prepared);

  /// Bytes that one thread needs while it multiplies.
  std::size_t (*scratch_bytes)(const WeightFormat& format, int rows, int cols);

  /// For the rows of w in `run`: y[i * y_stride + n - run.begin], i in
  /// [0, rows). `run.begin` is a multiple of row_step; `run.end` too, or it is
  /// w.rows. Kernels bound by memory ask for the first lines of `run.next`
  /// while they multiply the last rows, as a run that begins with waiting costs
  /// microseconds. `scratch` is aligned to 64.
  void (*multiply)(const WeightView& w, const void* prepared, int rows,
                   const WeightRun& run, void* scratch, float* y, int y_stride);
};

/// The kernels there are on this architecture, supported here or not.
std::vector<const MatmulKernel*> all_matmul_kernels();

/// The best kernel up to active_isa() for so many rows: by the ranks measured
/// (docs/performance.md), and only if it reproduces a reference on a small
/// product, which is tried at its first use; else the next best.
/// Threads: any.
const MatmulKernel& matmul_kernel(const WeightFormat& format, int cols,
                                  ValueType compute, int rows);

}  // namespace llamlx
