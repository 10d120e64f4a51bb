#include <algorithm>
#include <cstring>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {
namespace {

/// hidden[:, begin..end) = silu(gate) * up.
void make_hidden(Worker& worker, CpuPass& pass, const CpuLayer& layer,
                 const PreparedRows& prepared, int begin, int end) {
  const int width = end - begin;
  auto* gate = pass.thread(worker).outputs.as<float>();
  auto* up = gate + static_cast<std::ptrdiff_t>(pass.rows) * width;
  multiply(worker, pass, layer.gate_proj, prepared[0], begin, end, gate, width);
  multiply(worker, pass, layer.up_proj, prepared[1], begin, end, up, width);
  auto* out = pass.space.hidden.as<float>() + begin;
  for (int i = 0; i < pass.rows; ++i) {
    pass.vectors.silu_mul(gate, up, width, out);
    gate += width;
    up += width;
    out += layer.up_proj.weight.rows;
  }
}

}  // namespace

void mlp_cpu(Worker& worker, CpuPass& pass, int index) {
  const auto& layer = pass.model.layers[static_cast<std::size_t>(index)];
  const auto normed = prepare_rows(
      worker, pass, {&layer.gate_proj, &layer.up_proj}, [&](int i, float* out) {
        norm_row(pass, layer.post_attention_layernorm, i, out);
      });
  const int inner = layer.up_proj.weight.rows;
  const int step = pass.part_size({&layer.gate_proj, &layer.up_proj});
  for (int begin; (begin = worker.next_task() * step) < inner;) {
    make_hidden(worker, pass, layer, normed, begin,
                std::min(begin + step, inner));
  }
  worker.barrier();
  const auto hidden =
      prepare_rows(worker, pass, {&layer.down_proj}, [&](int i, float* out) {
        const auto n = static_cast<std::size_t>(inner);
        std::memcpy(
            out,
            pass.space.hidden.as<float>() + static_cast<std::size_t>(i) * n,
            n * sizeof(float));
      });
  add_product(worker, pass, layer.down_proj, hidden[0]);
}

}  // namespace llamlx
