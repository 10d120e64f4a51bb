#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

#include "cpu/isa.h"
#include "cpu/weight_view.h"

namespace llamlx {

/// The cached keys and values of one layer and one key/value head.
///
/// Layout   in blocks of kKeyBlock positions, so that lanes are positions where
/// queries meet keys, and lanes are elements where weights meet values; the
/// 16-bit types lie in pairs, as dot-product instructions and tiles take them.
/// With Dp = head_dim rounded up to a multiple of 16 (the rest is zeros):
///   keys    f32: [capacity / 16][head_dim][16]
///           f16, bf16: [capacity / 16][head_dim / 2][16][2]
///   values  f32: [capacity][Dp]
///           f16, bf16: [capacity / 2][Dp][2], pairs of positions
/// Aligned to 64 bytes. Positions not appended yet hold finite numbers.
struct KVHead {
  ValueType type;
  int head_dim;  ///< even
  int capacity;  ///< positions, a multiple of kKeyBlock
  void* keys;
  void* values;
};

inline constexpr int kKeyBlock = 16;

/// Bytes of one head's keys, and of its values.
std::size_t kv_keys_bytes(ValueType type, int head_dim, int capacity);
std::size_t kv_values_bytes(ValueType type, int head_dim, int capacity);

/// Query rows that look at one key/value head: the heads that share it, of one
/// token or of many.
struct QueryRows {
  const float* q;  ///< row r at q + r * stride: head_dim floats, scaled already
  std::ptrdiff_t stride;
  int count;
  const int* first;  ///< row r sees positions [first[r], end[r])
  const int* end;
};

/// A softmax over a part of the positions, not divided yet: parts of one row
/// can be joined (join_attention). A row that sees nothing of the part has
/// largest -infinity, sum 0 and out 0.
struct AttentionPart {
  float* out;  ///< row r at out + r * stride: sum of exp(s - largest) * v
  std::ptrdiff_t stride;
  float* largest;  ///< the largest score s of each row
  float* sum;      ///< of exp(s - largest)
};

/// A way to compute attention over the positions of one head. Sums, scores and
/// exponentials are float32; what the cache's type and `compute` (see
/// MatmulKernel) allow may be done to q and to the weights.
/// A row's answer does not depend on the rows beside it, except that a NaN
/// among values which a row does not see, but others of the same call do, may
/// reach it too. Threads  pure but for the memory they are given.
struct AttentionKernel {
  std::string_view name;
  Isa isa;
  int min_rows;  ///< of queries: worth using from so many on

  bool (*supports)(ValueType type, int head_dim, ValueType compute);

  /// Stores `count` positions from `at` on: row i of k and v (float32) is
  /// `stride` floats after the one before. Rounds to nearest.
  void (*append)(const KVHead& head, int at, int count, const float* k,
                 const float* v, std::ptrdiff_t stride);

  /// Bytes that one thread needs to attend with so many rows.
  std::size_t (*scratch_bytes)(int head_dim, int rows);

  /// Attends to the positions [begin, end) of which each row sees its own;
  /// `begin` is a multiple of kKeyBlock, end <= head.capacity. `scratch` is
  /// aligned to 64.
  void (*attend)(const KVHead& head, const QueryRows& rows, int begin, int end,
                 void* scratch, const AttentionPart& part);
};

/// The kernels there are on this architecture, supported here or not.
std::vector<const AttentionKernel*> all_attention_kernels();

/// The best kernel up to active_isa() for so many query rows a head; tried on a
/// small case before its first use, as matmul_kernel() does. append() is the
/// same of every kernel. Threads: any.
const AttentionKernel& attention_kernel(ValueType type, int head_dim,
                                        ValueType compute, int rows);

/// How many of `positions` a piece of work best has while decoding: a multiple
/// of kKeyBlock, about an eighth, 256 to 1024. The first keys of a piece come
/// from memory while nothing else is done: pieces of 1024 are a quarter faster
/// than pieces of 256 where there is enough work for all threads. It does not
/// depend on the threads, so that results do not.
int attention_part_length(int positions);

/// Joins the `parts` of one row in their order and divides: out [head_dim].
/// Part p of the row: out at part_out + p * stride, largest[p * step],
/// sum[p * step]. A row that saw nothing becomes zeros.
void join_attention(const float* part_out, std::ptrdiff_t stride,
                    const float* largest, const float* sum, int step, int parts,
                    int head_dim, float* out);

}  // namespace llamlx
