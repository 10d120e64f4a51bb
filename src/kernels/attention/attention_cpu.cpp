#include <algorithm>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {
namespace {

/// The positions [first, end) that each row of a task sees.
struct Bounds {
  int* first;
  int* end;
  int smallest;
  int largest;
};

Bounds bounds_of(const CpuPass& pass, const AttentionTask& task, int window,
                 int* memory) {
  const int group = pass.model.group();
  const int offset =
      pass.segments[static_cast<std::size_t>(task.segment)].offset;
  const int rows = (task.end - task.begin) * group;
  const Bounds bounds{
      memory, memory + rows,
      window == 0 ? 0 : std::max(offset + task.begin + 1 - window, 0),
      offset + task.end};
  for (int r = 0; r < rows; ++r) {
    const int end = offset + task.begin + r / group + 1;
    bounds.first[r] = window == 0 ? 0 : std::max(end - window, 0);
    bounds.end[r] = end;
  }
  return bounds;
}

void attend(Worker& worker, CpuPass& pass, int layer,
            const AttentionTask& task) {
  const auto& model = pass.model;
  const int head_dim = model.params.heads.head_dim;
  const int group = model.group();
  const auto s = static_cast<std::size_t>(task.segment);
  const auto& segment = pass.segments[s];
  const auto& parts = pass.parts[s];
  auto& own = pass.thread(worker);
  const auto bounds = bounds_of(
      pass, task, model.layers[static_cast<std::size_t>(layer)].window,
      own.bounds.as<int>());
  const int count = (task.end - task.begin) * group;
  const QueryRows rows{pass.space.q.as<float>() +
                           (static_cast<std::ptrdiff_t>(task.head) * pass.rows +
                            parts.first_row + task.begin) *
                               group * head_dim,
                       head_dim, count, bounds.first, bounds.end};
  const auto at =
      parts.first +
      (static_cast<std::ptrdiff_t>(task.head * parts.splits + task.split) *
           segment.length +
       task.begin) *
          group;
  const AttentionPart part{pass.space.part_out.as<float>() + at * head_dim,
                           head_dim, pass.space.part_largest.as<float>() + at,
                           pass.space.part_sum.as<float>() + at};
  // A split ends where the next begins; positions no row sees are left out.
  int begin = bounds.smallest / kKeyBlock * kKeyBlock;
  int end = bounds.largest;
  if (parts.splits > 1) {
    begin = std::max(begin, task.split * parts.split_positions);
    end = std::min(end, (task.split + 1) * parts.split_positions);
  }
  task.kernel->attend(segment.store->head(layer, task.head), rows, begin,
                      std::max(begin, end), own.scratch.data(), part);
}

}  // namespace

void attention_cpu(Worker& worker, CpuPass& pass, int layer) {
  const int count = static_cast<int>(pass.attention_tasks.size());
  for (int task; (task = worker.next_task()) < count;) {
    attend(worker, pass, layer,
           pass.attention_tasks[static_cast<std::size_t>(task)]);
  }
  worker.barrier();
}

}  // namespace llamlx
