#include "kernels/cpu/cpu_pass.h"

namespace llamlx {
namespace {

/// The heads' outputs [H * Dh] of row `row`, joined from their parts.
void join_heads(const CpuPass& pass, int row, float* out) {
  const int head_dim = pass.model.params.heads.head_dim;
  const int group = pass.model.group();
  std::size_t s = 0;
  while (row >= pass.parts[s].first_row + pass.segments[s].length) ++s;
  const auto& [first_row, first, splits, split_positions] = pass.parts[s];
  const int step = pass.segments[s].length * group;
  for (int h = 0; h < pass.model.params.heads.num_attention_heads; ++h) {
    const auto at =
        first + static_cast<std::ptrdiff_t>(h / group) * splits * step +
        static_cast<std::ptrdiff_t>(row - first_row) * group + h % group;
    join_attention(pass.space.part_out.as<float>() + at * head_dim,
                   static_cast<std::ptrdiff_t>(step) * head_dim,
                   pass.space.part_largest.as<float>() + at,
                   pass.space.part_sum.as<float>() + at, step, splits, head_dim,
                   out + static_cast<std::ptrdiff_t>(h) * head_dim);
  }
}

}  // namespace

void output_cpu(Worker& worker, CpuPass& pass, int index) {
  const auto& layer = pass.model.layers[static_cast<std::size_t>(index)];
  const auto prepared =
      prepare_rows(worker, pass, {&layer.o_proj},
                   [&](int i, float* out) { join_heads(pass, i, out); });
  add_product(worker, pass, layer.o_proj, prepared[0], layer.first_of_mlp());
}

}  // namespace llamlx
