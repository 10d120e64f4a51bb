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

/// Query heads [begin, end): to where their group's attention finds them.
void make_queries(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                  const void* prepared, int begin, int end) {
  const int head_dim = pass.model.params.heads.head_dim;
  const int group = pass.model.group();
  const int count = end - begin;
  auto* values = pass.thread(worker).outputs.as<float>();
  multiply(worker, pass, layer.q_proj, prepared, begin * head_dim,
           end * head_dim, values, count * head_dim);
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

/// Key/value heads [begin, end): to the caches of the rows.
void append_keys_values(Worker& worker, CpuPass& pass, int index,
                        const PreparedRows& prepared, int begin, int end) {
  const auto& layer = pass.model.layers[static_cast<std::size_t>(index)];
  const int head_dim = pass.model.params.heads.head_dim;
  const int width = (end - begin) * head_dim;
  auto* keys = pass.thread(worker).outputs.as<float>();
  auto* values = keys + static_cast<std::ptrdiff_t>(pass.rows) * width;
  multiply(worker, pass, layer.k_proj, prepared[1], begin * head_dim,
           end * head_dim, keys, width);
  multiply(worker, pass, layer.v_proj, prepared[2], begin * head_dim,
           end * head_dim, values, width);
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
  const auto& model = pass.model;
  const auto& layer = model.layers[static_cast<std::size_t>(index)];
  const auto& heads = model.params.heads;
  const auto prepared =
      prepare_rows(worker, pass, {&layer.q_proj, &layer.k_proj, &layer.v_proj},
                   [&](int i, float* out) {
                     norm_row(pass, layer.input_layernorm, i, out);
                   });
  const int kv_step = pass.heads_at_once({&layer.k_proj, &layer.v_proj},
                                         heads.num_key_value_heads);
  const int q_step =
      pass.heads_at_once({&layer.q_proj}, heads.num_attention_heads);
  const int kv_tasks = (heads.num_key_value_heads + kv_step - 1) / kv_step;
  const int q_tasks = (heads.num_attention_heads + q_step - 1) / q_step;
  // Keys and values first: their tasks are twice as long.
  for (int task; (task = worker.next_task()) < kv_tasks + q_tasks;) {
    if (task < kv_tasks) {
      const int begin = task * kv_step;
      append_keys_values(worker, pass, index, prepared, begin,
                         std::min(begin + kv_step, heads.num_key_value_heads));
    } else {
      const int begin = (task - kv_tasks) * q_step;
      make_queries(worker, pass, layer, prepared[0], begin,
                   std::min(begin + q_step, heads.num_attention_heads));
    }
  }
  worker.barrier();
}

}  // namespace llamlx
