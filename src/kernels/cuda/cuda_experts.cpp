#include "kernels/cuda/cuda_experts.h"

#include <algorithm>

#include "base/concat.h"
#include "cuda/experts/add.h"
#include "cuda/experts/route.h"
#include "cuda/kernel.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_expert_plan.h"
#include "kernels/cuda/cuda_expert_products.h"
#include "kernels/cuda/cuda_few_rows.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

std::vector<const CudaMatrix*> matrices_of(const CudaExperts& experts) {
  std::vector<const CudaMatrix*> result{&experts.down_proj};
  for (const auto& matrix : experts.gate_up) result.push_back(&matrix);
  return result;
}

ExpertSizes sizes_of(const CudaModel& model, const CudaExperts& experts) {
  const bool has_wide =
      std::ranges::any_of(matrices_of(experts),
                          [](const auto* matrix) { return matrix->is_wide(); });
  const auto& down = experts.down_proj.layout;
  return {.experts = experts.count,
          .used = model.params.experts.num_experts_per_tok,
          .hidden = experts.gate_up.front().cols,
          .inner = experts.down_proj.cols,
          .has_wide = has_wide,
          .has_halves = down.is_affine() && down.group == 32,
          .bits = down.bits,
          .is_apart = experts.gate_up.size() > 1};
}

/// plan_experts(), as shared memory has room for it.
ExpertPlan plan_for(const CudaModel& model, const CudaExperts& experts,
                    int rows) {
  auto plan = plan_experts(sizes_of(model, experts), rows, model.compute);
  for (const auto* matrix : matrices_of(experts)) {
    if (matrix->is_wide()) {
      plan.rows = std::min(plan.rows, most_few_rows(model, *matrix));
      continue;
    }
    const auto fits = [&] {
      return cuda::some_rows_shared_bytes(
                 matrix->layout,
                 group_stage(model, *matrix, plan.group_rows)) <=
             model.device.shared_bytes_per_block;
    };
    while (!plan.is_many && plan.group_rows > 8 && !fits()) {
      plan.group_rows /= 2;
    }
  }
  return plan;
}

/// Memory for a step.
void reserve(const ExpertStep& step) {
  auto& space = step.space();
  const auto rows = static_cast<std::size_t>(step.grouping.rows);
  const auto places = static_cast<std::size_t>(step.grouping.places());
  const auto experts = static_cast<std::size_t>(step.grouping.experts);
  const auto used = static_cast<std::size_t>(step.grouping.used);
  const auto inner = static_cast<std::size_t>(step.experts.down_proj.cols);
  space.logits.reserve<float>(rows * experts);
  space.norms.reserve<float>(rows);
  space.chosen.reserve<int>(rows * used);
  space.shares.reserve<float>(rows * used);
  space.masks.reserve<unsigned>(ceil_div<std::size_t>(rows, cuda::kRouteRows) *
                                experts);
  space.groups.reserve<cuda::ExpertGroup>(
      static_cast<std::size_t>(step.most_groups()));
  space.num_groups.reserve<int>(1);
  space.rows_of.reserve<int>(places);
  space.places.reserve<int>(rows * experts);
  if (step.experts.gate_up.size() > 1) {
    space.gate_up.reserve<float>(2 * places * inner);
  }
  space.hidden.reserve<float>(places * inner);
  space.outputs.reserve<float>(
      places * static_cast<std::size_t>(step.model.hidden_size()));
}

cuda::OrderArgs order_args(const ExpertStep& step) {
  auto& space = step.space();
  return {space.masks.as<const unsigned>(),
          step.grouping.rows,
          step.grouping.experts,
          step.grouping.group_rows,
          space.groups.as<cuda::ExpertGroup>(),
          space.num_groups.as<int>(),
          space.rows_of.as<int>(),
          space.places.as<int>()};
}

cuda::RouteArgs route_args(const ExpertStep& step) {
  auto& space = step.space();
  cuda::RouteArgs args{};
  args.x = step.x.x;
  args.rows = step.x.rows;
  args.cols = step.model.hidden_size();
  args.eps = step.x.eps;
  args.router = step.experts.router.data();
  args.experts = step.grouping.experts;
  args.used = step.grouping.used;
  args.sums_to_one = step.model.params.experts.norm_topk_prob ? 1 : 0;
  args.logits = space.logits.as<float>();
  args.norms = space.norms.as<float>();
  args.chosen = space.chosen.as<int>();
  args.shares = space.shares.as<float>();
  args.masks = space.masks.as<unsigned>();
  args.counters = step.model.space.counters.as<unsigned>();
  args.order = order_args(step);
  return args;
}

/// Chooses the rows' experts, and orders rows by them.
void route(const ExpertStep& step) {
  const auto args = route_args(step);
  const int row_blocks = ceil_div<int>(args.rows, cuda::kRouteRows);
  // Of many rows a warp has four experts: it reads each row of x for all.
  const int each = args.rows > cuda::kSomeRowsMost ? 4 : 1;
  launch(step.model.stream,
         cuda_kernel("experts/route", concat("route_rows_e", each)),
         {.grid_x = static_cast<unsigned>(row_blocks),
          .grid_y = ceil_div<unsigned>(args.experts, each * cuda::kRouteWarps),
          .block = cuda::kRouteThreads,
          .shared_bytes =
              static_cast<unsigned>(cuda::route_shared_bytes(args.experts))},
         args);
  if (row_blocks == 1) return;
  launch(step.model.stream, cuda_kernel("experts/route", "order_rows"),
         {.grid_x = 1,
          .block = cuda::kOrderThreads,
          .shared_bytes = static_cast<unsigned>(
              cuda::order_shared_bytes(cuda::kOrderThreads, args.experts))},
         args.order);
}

/// silu(gate(x)) * up(x) for every expert of a row.
bool gate(const ExpertStep& step) {
  auto& space = step.space();
  const auto& [experts, router, gate_up, down_proj] = step.experts;
  const int inner = down_proj.cols;
  const GroupRows x{step.x, false};
  auto* hidden = space.hidden.as<float>();
  if (gate_up.size() == 1) {
    return multiply(step, gate_up.front(), x,
                    {hidden, inner, cuda::Output::swiglu, {&down_proj}});
  }
  auto* out = space.gate_up.as<float>();
  for (const auto& matrix : gate_up) {
    multiply(step, matrix, x, {out, 2 * inner, cuda::Output::store});
    out += inner;
  }
  multiply_gates(step.model, space.gate_up.as<const float>(),
                 step.grouping.places(), inner, hidden);
  return false;
}

bool add(const ExpertStep& step, const ProductTarget& residual) {
  auto& model = step.model;
  auto& space = step.space();
  cuda::AddExpertsArgs args{};
  args.x = residual.out;
  args.rows = step.grouping.rows;
  args.cols = model.hidden_size();
  args.outputs = space.outputs.as<const float>();
  args.chosen = space.chosen.as<const int>();
  args.shares = space.shares.as<const float>();
  args.places = space.places.as<const int>();
  args.used = step.grouping.used;
  args.experts = step.grouping.experts;
  auto type = cuda::NumberType::f16;
  if (residual.next.matrix != nullptr) {
    const auto target = operands_for(model, residual.next, args.rows);
    args.next = target.next;
    type = target.type;
  }
  const bool makes_next = args.next.stages.bytes != nullptr;
  const int rows = makes_next ? args.next.stages.stage.rows : args.rows;
  launch(model.stream,
         cuda_kernel("experts/add", concat("add_experts_", operand_name(type))),
         {.grid_x = static_cast<unsigned>(rows),
          .block = cuda::kAddThreads,
          .shared_bytes =
              static_cast<unsigned>(cuda::add_shared_bytes(args.used))},
         args);
  return makes_next;
}

bool run(const ExpertStep& step, const ProductTarget& residual) {
  reserve(step);
  route(step);
  const bool are_operands = gate(step);
  const int hidden = step.model.hidden_size();
  auto& space = step.space();
  multiply(step, step.experts.down_proj,
           {{.x = space.hidden.as<const float>(),
             .rows = step.grouping.places(),
             .are_operands = are_operands},
            true},
           {space.outputs.as<float>(), hidden, cuda::Output::store});
  return add(step, residual);
}

}  // namespace

bool run_experts(CudaModel& model, const CudaExperts& experts,
                 const ProductRows& x, const ProductTarget& residual) {
  const auto plan = plan_for(model, experts, x.rows);
  const int used = model.params.experts.num_experts_per_tok;
  const auto run_some = [&](const ProductRows& some,
                            const ProductTarget& target) {
    return run({model,
                experts,
                {some.rows, experts.count, used, plan.group_rows},
                plan.is_many,
                some},
               target);
  };
  if (x.rows <= plan.rows) return run_some(x, residual);
  for (int first = 0; first < x.rows; first += plan.rows) {
    run_some(x.from(first, plan.rows, model.hidden_size()),
             residual.from(first));
  }
  return false;
}

NextProduct first_of_experts(const CudaModel& model, const CudaExperts& experts,
                             const CudaVector& norm, int rows) {
  const auto plan = plan_for(model, experts, rows);
  const bool have_all_rows = plan.group_rows == 0 && rows <= plan.rows;
  if (!have_all_rows || experts.gate_up.size() != 1) return {};
  return {&experts.gate_up.front(), &norm};
}

}  // namespace llamlx
