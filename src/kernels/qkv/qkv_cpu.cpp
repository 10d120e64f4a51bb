#include <cmath>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {
namespace {

/// Heads of one projection while they are made.
struct Heads {
  float* values;  // [rows][count * Dh]
  int count;
  CpuVector norm;
};

/// Norms and turns every head of every row in place.
void norm_and_turn(const CpuPass& pass, const Heads& heads) {
  const int head_dim = pass.model.params.heads.head_dim;
  const int pairs = head_dim / 2;
  const auto* cos = pass.space.cos_sin.as<float>();
  const auto* sin = cos + static_cast<std::ptrdiff_t>(pass.rows) * pairs;
  float* head = heads.values;
  for (int i = 0; i < pass.rows; ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i) * pairs;
    for (int h = 0; h < heads.count; ++h, head += head_dim) {
      if (heads.norm.data != nullptr) {
        pass.vectors.rms_norm(head, heads.norm.data, heads.norm.type, head_dim,
                              pass.model.params.rms_norm_eps, head);
      }
      pass.vectors.rope(head, cos + at, sin + at, head_dim,
                        pass.traditional_rope);
    }
  }
}

/// Query heads: to where their group's attention finds them.
void make_queries(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                  const void* prepared, const WeightRun& run) {
  const int head_dim = pass.model.params.heads.head_dim;
  const int group = pass.model.group();
  const int begin = run.begin / head_dim;
  const int end = run.end / head_dim;
  const int count = end - begin;
  auto* values = pass.thread(worker).outputs.as<float>();
  multiply(worker, pass, layer.q_proj, prepared, run, values, count * head_dim);
  norm_and_turn(pass, {values, count, layer.q_norm});
  const float scale = 1 / std::sqrt(static_cast<float>(head_dim));
  for (int i = 0; i < pass.rows; ++i) {
    for (int h = begin; h < end; ++h, values += head_dim) {
      const auto place =
          (static_cast<std::ptrdiff_t>(h / group) * pass.rows + i) * group +
          h % group;
      auto* out = pass.space.q.as<float>() + place * head_dim;
      for (int d = 0; d < head_dim; ++d) out[d] = values[d] * scale;
    }
  }
}

/// Key/value heads: to the caches of the rows.
void append_keys_values(Worker& worker, CpuPass& pass, int index,
                        const PreparedRows& prepared, const WeightRun& run) {
  const auto& layer = pass.model.layers[static_cast<std::size_t>(index)];
  const int head_dim = pass.model.params.heads.head_dim;
  const int begin = run.begin / head_dim;
  const int end = run.end / head_dim;
  const int width = run.end - run.begin;
  auto* keys = pass.thread(worker).outputs.as<float>();
  auto* values = keys + static_cast<std::ptrdiff_t>(pass.rows) * width;
  multiply(worker, pass, layer.k_proj, prepared[1],
           {run.begin, run.end,
            start_of(layer.v_proj.read_by(pass.rows), run.begin)},
           keys, width);
  multiply(worker, pass, layer.v_proj, prepared[2], run, values, width);
  norm_and_turn(pass, {keys, end - begin, layer.k_norm});
  for (const auto& segment : pass.segments) {
    for (int h = begin; h < end; ++h) {
      const auto at = (h - begin) * head_dim;
      pass.append(segment.store->head(index, h), segment.offset, segment.length,
                  keys + at, values + at, width);
    }
    keys += static_cast<std::ptrdiff_t>(segment.length) * width;
    values += static_cast<std::ptrdiff_t>(segment.length) * width;
  }
}

}  // namespace

void qkv_cpu(Worker& worker, CpuPass& pass, int index) {
  const auto& layer = pass.model.layers[static_cast<std::size_t>(index)];
  const auto prepared =
      prepare_rows(worker, pass, {&layer.q_proj, &layer.k_proj, &layer.v_proj},
                   [&](int i, float* out) {
                     norm_row(pass, layer.input_layernorm, i, out);
                   });
  const int q_tasks = pass.parts_of(layer.q_proj);
  const int kv_tasks = pass.parts_of(layer.k_proj);
  // Queries from the last on: the last worker has the fewest keys.
  const auto queries = [&](int task) {
    return pass.part(layer.q_proj, q_tasks - 1 - task,
                     pass.start(worker, layer.o_proj));
  };
  const auto make_keys_values = [&](int task) {
    const auto first = queries(std::min(task, q_tasks - 1)).begin;
    append_keys_values(
        worker, pass, index, prepared,
        pass.part(layer.k_proj, task,
                  start_of(layer.q_proj.read_by(pass.rows), first)));
  };
  // Keys and values first: their tasks are twice as long.
  if (pass.is_few()) {
    for_each_task(worker, pass, kv_tasks, make_keys_values);
    for_each_task(worker, pass, q_tasks, [&](int task) {
      make_queries(worker, pass, layer, prepared[0], queries(task));
    });
  } else {
    for_each_task(worker, pass, kv_tasks + q_tasks, [&](int task) {
      if (task < kv_tasks) return make_keys_values(task);
      make_queries(worker, pass, layer, prepared[0], queries(task - kv_tasks));
    });
  }
  worker.barrier();
}

}  // namespace llamlx
