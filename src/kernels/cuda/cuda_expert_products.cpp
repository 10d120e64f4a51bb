#include "kernels/cuda/cuda_expert_products.h"

#include "base/concat.h"
#include "cuda/experts/few_rows.h"
#include "cuda/experts/many_rows.h"
#include "cuda/experts/some_rows.h"
#include "cuda/experts/stages.h"
#include "cuda/kernel.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_few_rows.h"

namespace llamlx {
namespace {

void multiply_few(const ExpertStep& step, const CudaMatrix& matrix,
                  const GroupRows& x, const ProductTarget& target) {
  const auto& kernel = cuda_kernel("experts/few_rows", "experts_few_f32");
  auto rows = x.rows;
  rows.rows = step.grouping.rows;  // of every group
  auto how = few_rows_launch(step.model, matrix, kernel, rows, target);
  how.shape.grid_z = static_cast<unsigned>(step.most_groups());
  launch(step.model.stream, kernel, how.shape,
         cuda::ExpertsFewArgs{how.args, step.groups(),
                              static_cast<long long>(matrix.expert_bytes()),
                              x.are_of_places ? 1 : 0});
}

/// Operands of groups, in stages.
struct GroupStages {
  cuda::Stages stages;
  long long stride;     ///< from group to group; 0: all have the same
  cuda::LateNorm norm;  ///< what is left of it
};

/// Room for those of every group.
GroupStages stages_in(const ExpertStep& step, const CudaMatrix& matrix,
                      GrowingBuffer& buffer) {
  const auto stage = group_stage(step.model, matrix, step.group_rows());
  const auto stride = static_cast<std::size_t>(stage.bytes()) *
                      cuda::operand_stages(matrix.tiles);
  const auto groups = static_cast<std::size_t>(step.most_groups());
  return {{stage, buffer.reserve<unsigned char>(groups * stride)},
          static_cast<long long>(stride),
          {}};
}

/// All groups have the same rows.
GroupStages shared_stages(const ExpertStep& step, const CudaMatrix& matrix,
                          const ProductRows& x) {
  auto& model = step.model;
  const auto stage = group_stage(model, matrix, step.group_rows());
  const auto bytes = static_cast<std::size_t>(stage.bytes()) *
                     cuda::operand_stages(matrix.tiles);
  auto& buffer = model.space.stages[model.space.turn];
  const cuda::Stages stages{stage, buffer.reserve<unsigned char>(bytes)};
  if (!x.are_operands) {
    make_stages(model, matrix, x, operand_of(matrix), stages);
  }
  return {stages, 0, late_norm(model, matrix, x)};
}

GroupStages make_group_stages(const ExpertStep& step, const CudaMatrix& matrix,
                              const GroupRows& x) {
  const auto& [rows, are_of_places] = x;
  if (step.grouping.has_all_rows() && !are_of_places) {
    return shared_stages(step, matrix, rows);
  }
  auto& space = step.space();
  const auto made =
      stages_in(step, matrix, space.stages[are_of_places ? 1 : 0]);
  if (rows.are_operands) return made;
  launch(
      step.model.stream,
      cuda_kernel("experts/stages", concat("make_group_stages_",
                                           operand_name(operand_of(matrix)))),
      {.grid_x = static_cast<unsigned>(made.stages.stage.rows),
       .grid_y = static_cast<unsigned>(step.most_groups()),
       .block = cuda::kStageThreads},
      cuda::GroupStageArgs{
          rows.x, matrix.cols, matrix.tiles, rows.norm_data(),
          rows.norm == nullptr ? nullptr : space.norms.as<const float>(),
          are_of_places ? nullptr : space.rows_of.as<const int>(),
          step.groups(), made.stages, made.stride});
  return made;
}

/// Operands for the next product, if those of this one are alike.
GroupStages next_stages(const ExpertStep& step, const CudaMatrix& matrix,
                        const CudaMatrix* next) {
  const bool makes_them = next != nullptr && !next->is_wide() &&
                          operand_of(*next) == operand_of(matrix);
  if (!makes_them) return {};
  return stages_in(step, *next, step.space().stages[1]);
}

/// Cuts the product into slices of the weight's columns.
unsigned cut(const ExpertStep& step, const CudaMatrix& matrix,
             cuda::SomeRowsArgs& args) {
  auto& space = step.model.space;
  const int columns = cuda::some_rows_columns(step.group_rows());
  args.slice = cuda::experts_some_slice(
      matrix.row_blocks, matrix.tiles,
      cuda::some_rows_together(columns, matrix.layout.bits),
      expected_groups(step.grouping), step.most_groups(),
      step.model.device.multiprocessors);
  const int slices =
      ceil_div<int>(cuda::operand_stages(matrix.tiles), args.slice);
  args.parts = space.product_parts.reserve<float>(
      cuda::experts_some_parts_bytes(matrix.row_blocks, columns, slices,
                                     step.most_groups()) /
      sizeof(float));
  args.counters = space.counters.as<unsigned>();
  return static_cast<unsigned>(slices);
}

bool multiply_some(const ExpertStep& step, const CudaMatrix& matrix,
                   const GroupRows& x, const ProductTarget& target) {
  const auto operands = make_group_stages(step, matrix, x);
  const auto next = next_stages(step, matrix, target.next.matrix);
  const auto& stage = operands.stages.stage;
  const bool makes_next = next.stages.bytes != nullptr;
  cuda::ExpertsSomeArgs args{};
  auto& each = args.each;
  each.products = {
      matrix.bytes.as<const unsigned char>(),
      matrix.row_blocks,
      matrix.tiles,
      reinterpret_cast<const std::uint16_t*>(operands.stages.bytes),
      nullptr,
      0,
      stage.planes,
      nullptr,
      makes_next ? nullptr : target.out,
      matrix.rows,
      target.stride,
      target.output};
  each.norm = operands.norm;
  each.next = {next.stages, nullptr, nullptr};
  const auto slices = cut(step, matrix, each);
  args.groups = step.groups();
  args.weight_stride = static_cast<long long>(matrix.expert_bytes());
  args.x_stride = operands.stride;
  args.next_stride = next.stride;
  const auto name = concat("experts_some_", matrix.kernel_suffix(), "_n",
                           cuda::some_rows_columns(step.group_rows()));
  launch(step.model.stream, cuda_kernel("experts/some_rows", name),
         {.grid_x =
              static_cast<unsigned>(cuda::some_rows_groups(matrix.row_blocks)),
          .grid_y = slices,
          .grid_z = static_cast<unsigned>(step.most_groups()),
          .block = cuda::kSomeRowsThreads,
          .shared_bytes = static_cast<unsigned>(
              cuda::some_rows_shared_bytes(matrix.layout, stage))},
         args);
  return makes_next;
}

void multiply_many(const ExpertStep& step, const CudaMatrix& matrix,
                   const GroupRows& x, const ProductTarget& target) {
  const int planes = planes_of(step.model, operand_of(matrix));
  const auto operands = make_operands(step.model, matrix, x.rows, planes,
                                      cuda::OperandOrder::rows);
  cuda::ExpertsManyArgs args{};
  args.each = {matrix.bytes.as<const unsigned char>(),
               matrix.row_blocks,
               matrix.tiles,
               operands.numbers,
               operands.scales,
               x.rows.rows,
               planes,
               nullptr,
               target.out,
               matrix.rows,
               target.stride,
               target.output};
  args.groups = step.groups();
  args.rows_of =
      x.are_of_places ? nullptr : step.space().rows_of.as<const int>();
  args.weight_stride = static_cast<long long>(matrix.expert_bytes());
  constexpr int kBlocks = cuda::kManyRowsBlock / cuda::kTileRows;
  launch(step.model.stream,
         cuda_kernel("experts/many_rows",
                     concat("experts_many_", matrix.kernel_suffix())),
         {.grid_x = static_cast<unsigned>(step.most_groups()),
          .grid_y = ceil_div<unsigned>(matrix.row_blocks, kBlocks),
          .block = cuda::kManyRowsThreads,
          .shared_bytes = cuda::kExpertsManySharedBytes},
         args);
}

}  // namespace

cuda::OperandStage group_stage(const CudaModel& model, const CudaMatrix& matrix,
                               int rows) {
  return cuda::some_rows_stage(matrix.layout, cuda::some_rows_columns(rows),
                               planes_of(model, operand_of(matrix)),
                               cuda::OperandOrder::rows);
}

bool multiply(const ExpertStep& step, const CudaMatrix& matrix,
              const GroupRows& x, const ProductTarget& target) {
  if (step.is_many) {
    multiply_many(step, matrix, x, target);
    return false;
  }
  if (!matrix.is_wide()) return multiply_some(step, matrix, x, target);
  multiply_few(step, matrix, x, target);
  return false;
}

}  // namespace llamlx
