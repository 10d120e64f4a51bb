#include <algorithm>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {

void logits_cpu(Worker& worker, CpuPass& pass, float* logits) {
  const auto& model = pass.model;
  const auto prepared = prepare_rows(
      worker, pass, {&model.lm_head},
      [&](int i, float* out) { norm_row(pass, model.norm, i, out); });
  const int vocab_size = model.lm_head.weight.rows;
  const int step = pass.part_size({&model.lm_head});
  for (int begin; (begin = worker.next_task() * step) < vocab_size;) {
    multiply(worker, pass, model.lm_head, prepared[0], begin,
             std::min(begin + step, vocab_size), logits + begin, vocab_size);
  }
  worker.barrier();
}

}  // namespace llamlx
