#include "kernels/cuda/cuda_operands.h"

#include "base/concat.h"
#include "cuda/kernel.h"
#include "cuda/matmul/operands.h"
#include "cuda/matmul/stages.h"
#include "kernels/cuda/ceil_div.h"

namespace llamlx {

cuda::NumberType operand_of(const CudaMatrix& matrix) {
  return matrix.layout.is_affine() ? cuda::NumberType::f16 : matrix.layout.type;
}

std::string operand_name(cuda::NumberType type) {
  return type == cuda::NumberType::bf16 ? "bf16" : "f16";
}

int planes_of(const CudaModel& model, cuda::NumberType operand) {
  if (operand == cuda::NumberType::f32) return 1;
  if (model.compute == cuda::NumberType::f32) return 3;
  const bool keeps_f16 = model.compute == cuda::NumberType::f16 &&
                         operand == cuda::NumberType::bf16;
  return keeps_f16 ? 2 : 1;
}

void make_stages(CudaModel& model, const CudaMatrix& matrix,
                 const ProductRows& x, cuda::NumberType operand,
                 const cuda::Stages& out) {
  auto* squares = x.norm == nullptr
                      ? nullptr
                      : model.space.squares.reserve<float>(cuda::kSomeRowsMost);
  launch(model.stream,
         cuda_kernel("matmul/stages",
                     concat("make_stages_", operand_name(operand))),
         {.grid_x = static_cast<unsigned>(out.stage.rows),
          .block = cuda::kStageThreads,
          .shared_bytes = 256},
         cuda::StageArgs{x.x, x.rows, matrix.cols, matrix.tiles, x.norm_data(),
                         out, squares});
}

cuda::LateNorm late_norm(const CudaModel& model, const CudaMatrix& matrix,
                         const ProductRows& x) {
  if (x.norm == nullptr) return {};
  const int before =
      cuda::some_rows_groups(ceil_div<int>(matrix.cols, cuda::kTileRows));
  return {model.space.squares.as<const float>(), x.are_operands ? before : 1,
          matrix.cols, x.eps};
}

ManyOperands make_operands(CudaModel& model, const CudaMatrix& matrix,
                           const ProductRows& x, int planes,
                           cuda::OperandOrder order) {
  const auto count = static_cast<std::size_t>(x.rows);
  const int stride = matrix.tiles * cuda::kTileCols;
  auto* numbers =
      model.space.operands.reserve<std::uint16_t>(planes * count * stride);
  auto* scales = model.space.scales.reserve<float>(count);
  launch(
      model.stream,
      cuda_kernel("matmul/operands",
                  concat("make_operands_", operand_name(operand_of(matrix)))),
      {.grid_x = static_cast<unsigned>(x.rows),
       .block = cuda::kOperandThreads,
       .shared_bytes = 256},
      cuda::OperandArgs{x.x, x.rows, matrix.cols, stride, x.norm_data(), x.eps,
                        planes, order, numbers, scales});
  return {numbers, scales};
}

}  // namespace llamlx
