#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {
namespace {

/// hidden[:, run] = silu(gate) * up.
void make_hidden(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                 const PreparedRows& prepared, int task) {
  auto run = pass.part(layer.gate_proj, task);
  const int width = run.end - run.begin;
  auto* gate = pass.thread(worker).outputs.as<float>();
  auto* up = gate + static_cast<std::ptrdiff_t>(pass.rows) * width;
  run.next = start_of(layer.up_proj.read_by(pass.rows), run.begin);
  multiply(worker, pass, layer.gate_proj, prepared[0], run, gate, width);
  run.next = pass.start(worker, layer.down_proj);
  multiply(worker, pass, layer.up_proj, prepared[1], run, up, width);
  auto* out = pass.space.hidden.as<float>() + run.begin;
  for (int i = 0; i < pass.rows; ++i) {
    pass.vectors.silu_mul(gate, up, width, out);
    gate += width;
    up += width;
    out += layer.up_proj.weight.rows;
  }
}

}  // namespace

void mlp_cpu(Worker& worker, CpuPass& pass, int index) {
  const auto& layers = pass.model.layers;
  const auto& layer = layers[static_cast<std::size_t>(index)];
  const auto after = static_cast<std::size_t>(index) + 1;
  const auto& next =
      after < layers.size() ? layers[after].k_proj : pass.model.lm_head;
  if (layer.router) return experts_cpu(worker, pass, layer, next);
  const auto normed = prepare_rows(
      worker, pass, {&layer.gate_proj, &layer.up_proj}, [&](int i, float* out) {
        norm_row(pass, layer.post_attention_layernorm, i, out);
      });
  const int inner = layer.up_proj.weight.rows;
  for_each_task(worker, pass, pass.parts_of(layer.gate_proj), [&](int task) {
    make_hidden(worker, pass, layer, normed, task);
  });
  worker.barrier();
  const auto hidden =
      prepare_rows(worker, pass, {&layer.down_proj}, [&](int i, float* out) {
        const auto n = static_cast<std::size_t>(inner);
        std::memcpy(
            out,
            pass.space.hidden.as<float>() + static_cast<std::size_t>(i) * n,
            n * sizeof(float));
      });
  add_product(worker, pass, layer.down_proj, hidden[0], next);
}

}  // namespace llamlx
