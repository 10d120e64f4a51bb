#include "kernels/cpu/cpu_pass.h"

namespace llamlx {

void embed_cpu(Worker& worker, CpuPass& pass, const std::int32_t* ids) {
  const auto& model = pass.model;
  const int pairs = model.params.heads.head_dim / 2;
  auto* cos = pass.space.cos_sin.as<float>();
  auto* sin = cos + static_cast<std::ptrdiff_t>(pass.rows) * pairs;
  std::size_t segment = 0;
  for (int row; (row = worker.next_task()) < pass.rows;) {
    const int id = ids[row] < 0 ? model.embed_tokens.rows - 1 : ids[row];
    pass.vectors.dequantize_row(
        model.embed_tokens, id,
        pass.residual + static_cast<std::ptrdiff_t>(row) * model.hidden_size());
    // Tasks come to a worker in rising order.
    while (row >=
           pass.parts[segment].first_row + pass.segments[segment].length) {
      ++segment;
    }
    const auto& [store, offset, length, periods] = pass.segments[segment];
    const int position = offset + row - pass.parts[segment].first_row;
    const auto at = static_cast<std::ptrdiff_t>(row) * pairs;
    rope_table(position, periods.data(), pairs, pass.rope_scale, cos + at,
               sin + at);
  }
  worker.barrier();
}

}  // namespace llamlx
