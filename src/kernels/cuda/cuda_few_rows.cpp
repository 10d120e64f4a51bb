#include "kernels/cuda/cuda_few_rows.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

/// How a product of few rows is cut.
struct FewRowsShape {
  int share;
  int rows;  // in one launch
  int stages;
  int chunk;
};

/// As many rows at once as fit into a block's shared memory, and beside them as
/// much of the weight as then fits: GPUs of less memory ask for less ahead.
FewRowsShape few_rows_shape(const CudaModel& model, const CudaMatrix& matrix,
                            int planes) {
  const auto bytes = cuda::tile_bytes(matrix.layout);
  FewRowsShape shape{
      cuda::few_rows_share(matrix.layout, matrix.row_blocks, matrix.tiles,
                           model.device.multiprocessors),
      cuda::kFewRowsMost, 2, 1};
  const auto fits = [&](int rows, int stages, int chunk) {
    return cuda::few_rows_shared_bytes(matrix.layout, matrix.tiles, rows,
                                       planes, chunk, stages) <=
           model.device.shared_bytes_per_block;
  };
  while (shape.rows > 1 && !fits(shape.rows, 1, 1)) --shape.rows;
  if (!fits(shape.rows, 1, 1)) {
    fail(ErrorCode::unsupported, model.device.name,
         concat("has too little shared memory for weights of ", matrix.cols,
                " columns and numbers of ", planes, " parts"),
         "compute in bfloat16 (--dtype), or on the CPU (--device cpu)");
  }
  if (!fits(shape.rows, 2, 1)) shape.stages = 1;
  shape.chunk = cuda::few_rows_chunk(bytes, matrix.tiles, shape.share);
  while (!fits(shape.rows, shape.stages, shape.chunk)) --shape.chunk;
  return shape;
}

/// So many blocks that all run at once, and each has a long run of the weight.
unsigned blocks_for(const CudaModel& model, const CudaMatrix& matrix, int share,
                    const Kernel& kernel, unsigned shared_bytes) {
  constexpr int kMostAMultiprocessor = 2;
  const int each = std::clamp(
      blocks_per_multiprocessor(kernel, cuda::kFewRowsThreads, shared_bytes), 1,
      kMostAMultiprocessor);
  const int blocks_each = cuda::kFewRowsWarps / share;
  return static_cast<unsigned>(
      std::min((matrix.row_blocks + blocks_each - 1) / blocks_each,
               each * model.device.multiprocessors));
}

}  // namespace

int most_few_rows(const CudaModel& model, const CudaMatrix& matrix) {
  return few_rows_shape(model, matrix, planes_of(model, operand_of(matrix)))
      .rows;
}

FewRowsLaunch few_rows_launch(const CudaModel& model, const CudaMatrix& matrix,
                              const Kernel& kernel, const ProductRows& x,
                              const ProductTarget& target) {
  const int planes = planes_of(model, operand_of(matrix));
  const auto shape = few_rows_shape(model, matrix, planes);
  cuda::FewRowsArgs args{};
  args.weight = matrix.bytes.as<const unsigned char>();
  args.row_blocks = matrix.row_blocks;
  args.tiles = matrix.tiles;
  args.cols = matrix.cols;
  args.x = x.x;
  args.rows = x.rows;
  args.norm = x.norm_data();
  args.largest_norm = x.norm == nullptr ? 1 : x.norm->largest;
  args.eps = x.eps;
  args.planes = planes;
  args.share = shape.share;
  args.chunk = shape.chunk;
  args.stages = shape.stages;
  args.bias = matrix.bias.data();
  args.out = target.out;
  args.out_rows = matrix.rows;
  args.out_stride = target.stride;
  args.output = target.output;
  const auto shared = static_cast<unsigned>(cuda::few_rows_shared_bytes(
      matrix.layout, matrix.tiles, x.rows, planes, shape.chunk, shape.stages));
  return {args,
          {.grid_x = blocks_for(model, matrix, shape.share, kernel, shared),
           .block = cuda::kFewRowsThreads,
           .shared_bytes = shared}};
}

}  // namespace llamlx
