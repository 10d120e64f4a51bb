#pragma once

#include <array>
#include <initializer_list>
#include <span>
#include <vector>

#include "cpu/vector/vector.h"
#include "kernels/cpu/cpu_kv_cache.h"
#include "kernels/cpu/cpu_model.h"

namespace llamlx {

/// Consecutive tokens of one sequence in a pass.
struct CpuSegment {
  std::shared_ptr<CpuKVStore> store;
  int offset;  ///< position of the first
  int length;
  std::vector<float> periods;  ///< Rope::periods of this sequence
};

/// Queries of one key/value head over some positions: one task of attention.
struct AttentionTask {
  int segment;
  int head;   ///< the key/value head
  int begin;  ///< rows [begin, end) of the segment
  int end;
  int split;  ///< of the positions; the segment's last one is open to the end
  const AttentionKernel* kernel;  ///< for so many rows
};

/// Where a segment's attention lies, in parts (cpu/attention/attention.h): that
/// of head h, split s, row i and query head g of h's group is part
/// first + ((h * splits + s) * length + i) * group + g.
struct SegmentParts {
  int first_row;  ///< of the segment, in the pass
  int first;
  int splits;
  int split_positions;  ///< of each split but the last
};

/// One forward pass: its rows, who they belong to, and the memory it works in.
struct CpuPass {
  /// A pass through the layers. `stream` [rows, D] is the residual stream, and
  /// the result. Reserves memory: the workspace must be the caller's.
  CpuPass(const CpuModel& owner, std::span<const CpuSegment> runs,
          bool traditional, float scale, float* stream);

  /// A pass through step 6 alone, of `hidden` [count, D].
  CpuPass(const CpuModel& owner, int count, const float* hidden);

  const CpuModel& model;
  Workspace& space;
  const VectorKernels& vectors;
  std::span<const CpuSegment> segments = {};
  bool traditional_rope = false;
  float rope_scale = 1;
  int rows = 0;
  const float* x;
  float* residual = nullptr;  ///< x, where it may be written
  std::vector<SegmentParts> parts;
  std::vector<AttentionTask> attention_tasks;
  decltype(AttentionKernel::append) append = nullptr;  ///< of any kernel
  bool is_abandoned = false;  ///< nobody wants the rest

  bool is_few() const { return rows <= kFewRows; }

  ThreadSpace& thread(const Worker& worker) const {
    return space.threads[static_cast<std::size_t>(worker.index())];
  }

  /// How many experts a row goes to, in layers that have some.
  int experts_per_row() const {
    return model.params.experts.num_experts_per_tok;
  }

  /// Row `row` of x.
  const float* row(int row) const {
    return x + static_cast<std::ptrdiff_t>(row) * model.hidden_size();
  }

  /// How many rows of a layer's weight make one task: with few rows of x a
  /// worker's share, as memory is read fastest in one long run.
  int part_size(const CpuLinear& layer) const;

  /// How many tasks a layer is.
  int parts_of(const CpuLinear& layer) const;

  /// The rows of task `task`, and what is read after them, if that is known.
  WeightRun part(const CpuLinear& layer, int task,
                 const WeightStart& next = {}) const;

  /// Where a worker begins to read a layer, if that is known: with few rows
  /// of x, when it takes the task of its own number.
  WeightStart start(const Worker& worker, const CpuLinear& layer) const;

 private:
  void reserve_products();
  void reserve_experts();
  void plan_attention();
  /// The kernel for so many query rows of one head, with memory for it.
  const AttentionKernel& reserve_attention(int query_rows);
};

// The steps. Each is called by every worker and ends at a barrier; what it must
// compute is said in the header of its folder.
void embed_cpu(Worker& worker, CpuPass& pass, const std::int32_t* ids);
void qkv_cpu(Worker& worker, CpuPass& pass, int layer);
void attention_cpu(Worker& worker, CpuPass& pass, int layer);
void output_cpu(Worker& worker, CpuPass& pass, int layer);
void mlp_cpu(Worker& worker, CpuPass& pass, int layer);
/// mlp_cpu() of a layer with experts; `next` is read after it.
void experts_cpu(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                 const CpuLinear& next);

/// Step 6 for the pass's rows; `logits` [rows, V].
void logits_cpu(Worker& worker, CpuPass& pass, float* logits);

/// Rows as the weights that share them read them, one for each weight.
using PreparedRows = std::array<const void*, 3>;

/// Has `fill_row(i, out)` make every row of the input of up to three `layers`,
/// and prepares them. With few rows every worker does so for itself; with many
/// they share the work and meet.
template <typename FillRow>
PreparedRows prepare_rows(Worker& worker, CpuPass& pass,
                          std::initializer_list<const CpuLinear*> layers,
                          const FillRow& fill_row) {
  const int cols = (*layers.begin())->weight.cols;
  auto& own = pass.thread(worker);
  auto* rows = (pass.is_few() ? own.rows : pass.space.rows).as<float>();
  auto* prepared = pass.is_few() ? own.prepared : pass.space.prepared;
  const auto* first = layers.begin();
  const auto same_input = [&](const CpuLinear* a, const CpuLinear* b) {
    return &a->kernel(pass.rows) == &b->kernel(pass.rows) &&
           a->read_by(pass.rows).format == b->read_by(pass.rows).format;
  };
  PreparedRows result{};
  std::array<bool, 3> is_new{};
  for (std::size_t j = 0; j < layers.size(); ++j) {
    std::size_t alike = 0;
    while (!same_input(first[alike], first[j])) ++alike;
    is_new[j] = alike == j;
    result[j] = prepared[alike].data();
  }
  const auto make = [&](int begin, int end) {
    for (int i = begin; i < end; ++i) {
      fill_row(i, rows + static_cast<std::ptrdiff_t>(i) * cols);
    }
    for (std::size_t j = 0; j < layers.size(); ++j) {
      if (!is_new[j]) continue;
      first[j]->kernel(pass.rows).prepare(first[j]->read_by(pass.rows).format,
                                          rows, cols, pass.rows, cols, begin,
                                          end, prepared[j].data());
    }
  };
  if (pass.is_few()) {
    make(0, pass.rows);
    return result;
  }
  constexpr int kRowsAtOnce = 16;
  for (int begin; (begin = worker.next_task() * kRowsAtOnce) < pass.rows;) {
    make(begin, std::min(begin + kRowsAtOnce, pass.rows));
  }
  worker.barrier();
  return result;
}

/// The rms norm `norm` of row `row` of x.
void norm_row(const CpuPass& pass, const CpuVector& norm, int row, float* out);

/// Calls work(task) for the tasks of a worker: with few rows of x for that of
/// its own number, with many for those that are dealt to it.
template <typename Work>
void for_each_task(Worker& worker, const CpuPass& pass, int count,
                   const Work& work) {
  if (pass.is_few()) {
    if (worker.index() < count) work(worker.index());
    return;
  }
  for (int task; (task = worker.next_task()) < count;) work(task);
}

/// y[i * stride + n - run.begin] of every row i of the pass, for the rows of a
/// layer's weight in `run`; with its bias.
void multiply(Worker& worker, CpuPass& pass, const CpuLinear& layer,
              const void* prepared, const WeightRun& run, float* y, int stride);

/// Adds a layer's outputs to x; `next` is read after it. Called by every
/// worker; ends at a barrier.
void add_product(Worker& worker, CpuPass& pass, const CpuLinear& layer,
                 const void* prepared, const CpuLinear& next);

}  // namespace llamlx
