#include <algorithm>

#include "kernels/cpu/cpu_pass.h"

namespace llamlx {

void logits_cpu(Worker& worker, CpuPass& pass, float* logits) {
  const auto& model = pass.model;
  const auto prepared = prepare_rows(
      worker, pass, {&model.lm_head},
      [&](int i, float* out) { norm_row(pass, model.norm, i, out); });
  const auto& lm_head = model.lm_head;
  // The next token begins with the first layer.
  const auto next = pass.start(worker, model.layers.front().k_proj);
  for_each_task(worker, pass, pass.parts_of(lm_head), [&](int task) {
    const auto run = pass.part(lm_head, task, next);
    multiply(worker, pass, lm_head, prepared[0], run, logits + run.begin,
             lm_head.weight.rows);
  });
  worker.barrier();
}

}  // namespace llamlx
