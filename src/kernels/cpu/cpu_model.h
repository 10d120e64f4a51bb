#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/aligned_buffer.h"
#include "cpu/attention/attention.h"
#include "cpu/matmul/matmul.h"
#include "kernels/cpu/weight_packer.h"
#include "kernels/stack.h"

namespace llamlx {

/// Up to so many rows go through kernels that are bound by memory; every thread
/// then prepares the rows for itself, which costs less than meeting.
inline constexpr int kFewRows = 8;

/// A vector of the model (a norm, a bias) where it lies; null: there is none.
struct CpuVector {
  const void* data = nullptr;
  ValueType type = ValueType::f32;
};

/// A linear layer where it lies, and the kernels that multiply with it.
struct CpuLinear {
  WeightView weight;
  WeightView packed;  ///< for few rows: the same, or WeightPacker's copy
  CpuVector bias;
  /// For 1, 2, ... kFewRows rows, and for more.
  std::array<const MatmulKernel*, kFewRows + 1> kernels;
  /// Of so many rows of the weight the parts are made that threads take: what
  /// its kernels ask for, and those of layers that are split alike, and whole
  /// heads.
  int unit;

  const WeightView& read_by(int rows) const {
    return rows <= kFewRows ? packed : weight;
  }
  /// Chooses `kernels`, by what each number of rows reads, and `unit`.
  void choose_kernels(ValueType compute);

  const MatmulKernel& kernel(int rows) const {
    return *kernels[static_cast<std::size_t>(std::min(rows, kFewRows + 1)) - 1];
  }
};

struct CpuLayer {
  CpuVector input_layernorm;
  CpuLinear q_proj, k_proj, v_proj;
  CpuVector q_norm, k_norm;
  CpuLinear o_proj;
  CpuVector post_attention_layernorm;
  /// Of one mlp, or of the first expert: then the others' follow in memory.
  CpuLinear gate_proj, up_proj, down_proj;
  int window;
  std::optional<CpuLinear> router = {};  ///< there are experts

  /// The layer that step 5 begins with.
  const CpuLinear& first_of_mlp() const { return router ? *router : gate_proj; }
};

/// Rows of a pass that go to one expert.
struct ExpertGroup {
  int expert;
  int first;  ///< of ExpertRows::rows
  int count;
  /// Where its prepared rows begin, of gate_proj or down_proj, and of up_proj.
  std::array<std::size_t, 2> prepared = {};
};

/// The rows of a pass, once for each expert they go to, those of one expert
/// after another.
struct ExpertRows {
  std::vector<int> rows;
  std::vector<float> shares;  ///< of each
  std::vector<ExpertGroup> groups;
  std::vector<int> ends;  ///< [E]: of `rows`

  /// Makes room for so many rows of so many experts.
  void reserve(int count, int experts) {
    rows.reserve(static_cast<std::size_t>(count));
    shares.reserve(static_cast<std::size_t>(count));
    groups.reserve(static_cast<std::size_t>(experts));
    ends.reserve(static_cast<std::size_t>(experts));
  }
};

/// Memory of one thread during a pass.
struct ThreadSpace {
  AlignedBuffer rows;         // [rows, K] float: the input of a product
  AlignedBuffer prepared[3];  // the same, as kernels read it
  AlignedBuffer outputs;      // [2][rows, part of N] float
  AlignedBuffer scratch;      // a kernel's own
  AlignedBuffer bounds;       // [2][query rows] int: positions they see
  ExpertRows routed;
  AlignedBuffer expert_rows;         // [rows * k, D] float: ordered by expert
  AlignedBuffer expert_prepared[2];  // the same, as kernels read it
};

/// Memory of one pass. Kept for the next, which is as large as a rule.
struct Workspace {
  AlignedBuffer cos_sin;        // [2][rows, Dh / 2] float
  AlignedBuffer rows;           // [rows, K] float
  AlignedBuffer prepared[3];    // one for each input layout of a product
  AlignedBuffer q;              // [Hkv][rows][H / Hkv][Dh] float
  AlignedBuffer hidden;         // [rows, F] float; of experts [rows * k, F]
  AlignedBuffer part_out;       // [parts][Dh] float: attention not joined yet
  AlignedBuffer part_largest;   // [parts] float
  AlignedBuffer part_sum;       // [parts] float
  AlignedBuffer router_logits;  // [rows, E] float
  AlignedBuffer experts;        // [rows, k] int32
  AlignedBuffer shares;         // [rows, k] float
  AlignedBuffer expert_rows;    // as ThreadSpace has them
  AlignedBuffer expert_prepared[2];  // as well
  std::vector<ThreadSpace> threads;
};

/// A decoder's weights as kernels read them, and what its passes share.
struct CpuModel {
  /// Errors: std::invalid_argument when a weight is of a type kernels do not
  /// read.
  CpuModel(DecoderWeights loaded, StackParams stack, ValueType type,
           int threads);

  std::shared_ptr<ThreadPool> pool;
  DecoderWeights weights;
  StackParams params;
  ValueType compute;

  WeightView embed_tokens;
  std::vector<CpuLayer> layers;
  CpuVector norm;
  CpuLinear lm_head;
  WeightPacker packer;

  int hidden_size() const { return embed_tokens.cols; }
  /// Query heads that share a key/value head.
  int group() const {
    return params.heads.num_attention_heads / params.heads.num_key_value_heads;
  }

  /// One pass at a time has the workspace and the packer.
  mutable std::mutex running;
  mutable Workspace workspace;
};

/// The type of `dtype`. Errors: std::invalid_argument unless it is float32,
/// float16 or bfloat16.
ValueType value_type(mx::Dtype dtype);

/// What kernels read of a weight that is held so (held_by_kernels()). Errors:
/// as value_type().
WeightFormat weight_format(const ValueFormat& held);

}  // namespace llamlx
