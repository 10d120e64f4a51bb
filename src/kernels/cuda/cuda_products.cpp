#include "kernels/cuda/cuda_products.h"

#include <algorithm>

#include "base/concat.h"
#include "cuda/kernel.h"
#include "cuda/matmul/expand.h"
#include "cuda/matmul/gates.h"
#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/modules.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_few_rows.h"

namespace llamlx {
namespace {

void multiply_few(CudaModel& model, const CudaMatrix& matrix,
                  const ProductRows& x, const ProductTarget& target) {
  const auto& kernel = cuda_kernel("matmul/few_rows",
                                   concat("few_rows_", matrix.kernel_suffix()));
  const int most = most_few_rows(model, matrix);
  for (int first = 0; first < x.rows; first += most) {
    const auto how =
        few_rows_launch(model, matrix, kernel, x.from(first, most, matrix.cols),
                        target.from(first));
    launch(model.stream, kernel, how.shape, how.args);
  }
}

/// What multiplies so many rows.
enum class Way { few, some, many };

/// Whether some_rows is the faster one of one row, too: of codes, on the GPUs
/// of compute capability 9.0. Nobody has looked at others.
bool is_one_of_some(const CudaDeviceInfo& device,
                    const cuda::PackedLayout& layout) {
  return has_warpgroups(device) && layout.bits != 0;
}

Way way_of(const CudaModel& model, const CudaMatrix& matrix, int rows) {
  // What is computed in float32 needs more digits than numbers of 16 bits that
  // a weight is expanded to.
  const bool is_exact = model.compute == cuda::NumberType::f32;
  if (matrix.is_wide()) return Way::few;
  if (rows == 1 && (is_exact || !is_one_of_some(model.device, matrix.layout))) {
    return Way::few;
  }
  return is_exact || rows <= cuda::kSomeRowsMost ? Way::some : Way::many;
}

/// Stages of x for up to 8 `columns` rows. By them kernels are told apart.
cuda::OperandStage stage_of(const CudaModel& model, const CudaMatrix& matrix,
                            int columns) {
  const auto order = stage_order(model.device, 8 * columns);
  const bool is_rounded = order == cuda::OperandOrder::fragments &&
                          model.compute == cuda::NumberType::bf16 &&
                          cuda::some_rows_bf16_takes(matrix.layout, columns);
  if (is_rounded) return cuda::some_rows_bf16_stage(columns);
  return cuda::some_rows_stage(matrix.layout, columns,
                               planes_of(model, operand_of(matrix)), order);
}

std::string some_rows_kernel(const cuda::OperandStage& stage) {
  if (stage.order == cuda::OperandOrder::rows) return "some_rows";
  return stage.group == 0 ? "some_rows_bf16" : "some_rows_hopper";
}

/// What numbers of such stages are.
cuda::NumberType operand_of(const CudaMatrix& matrix,
                            const cuda::OperandStage& stage) {
  return stage.group == 0 ? cuda::NumberType::bf16 : operand_of(matrix);
}

/// Rows that some_rows takes at once: as many as shared memory has room for.
int most_some_rows(const CudaModel& model, const CudaMatrix& matrix) {
  int columns = cuda::some_rows_columns(cuda::kSomeRowsMost);
  while (columns > 1 && cuda::some_rows_shared_bytes(
                            matrix.layout, stage_of(model, matrix, columns)) >
                            model.device.shared_bytes_per_block) {
    columns /= 2;
  }
  return 8 * columns;
}

/// Whether products of so many rows take stages, all of them at once.
bool reads_stages(const CudaModel& model, const CudaMatrix& matrix, int rows) {
  return way_of(model, matrix, rows) == Way::some &&
         rows <= most_some_rows(model, matrix);
}

/// Stages of x for products with `matrix`, in `buffer`.
cuda::Stages stages_for(const CudaModel& model, const CudaMatrix& matrix,
                        int rows, GrowingBuffer& buffer) {
  const auto stage = stage_of(model, matrix, cuda::some_rows_columns(rows));
  const auto count =
      static_cast<std::size_t>(cuda::operand_stages(matrix.tiles));
  return {stage, buffer.reserve<unsigned char>(count * stage.bytes())};
}

/// Sums of squares of what products with so many blocks of rows are, as those
/// who make operands of them leave them.
float* squares_of(CudaModel& model, int row_blocks) {
  const auto groups =
      static_cast<std::size_t>(cuda::some_rows_groups(row_blocks));
  return model.space.squares.reserve<float>(groups * cuda::kSomeRowsMost);
}

/// Operands for the next product, if they are what this one can make.
cuda::NextOperands next_operands(CudaModel& model, const CudaMatrix& matrix,
                                 int rows, const NextProduct& next) {
  const int columns = cuda::some_rows_columns(rows);
  const auto type_of = [&](const CudaMatrix& of) {
    return operand_of(of, stage_of(model, of, columns));
  };
  const bool makes_them = next.matrix != nullptr &&
                          reads_stages(model, *next.matrix, rows) &&
                          type_of(*next.matrix) == type_of(matrix);
  if (!makes_them) return {};
  return {
      stages_for(model, *next.matrix, rows,
                 model.space.stages[1 - model.space.turn]),
      next.norm == nullptr ? nullptr : next.norm->data(),
      next.norm == nullptr ? nullptr : squares_of(model, matrix.row_blocks)};
}

/// Clusters of 1, 2 and more blocks of a kernel that run at a time.
const std::array<int, 8>& clusters_of(CudaModel& model, const Kernel& kernel,
                                      LaunchShape shape) {
  auto [found, is_new] = model.clusters.try_emplace(&kernel);
  auto& counts = found->second;
  for (std::size_t i = 0; is_new && i < counts.size(); ++i) {
    shape.grid_y = static_cast<unsigned>(i) + 1;
    counts[i] = clusters_at_once(kernel, shape);
  }
  return counts;
}

/// How a product of some rows is launched, but for its slices.
struct SomeRowsLaunch {
  const Kernel& kernel;
  LaunchShape shape;
};

SomeRowsLaunch some_rows_launch(const CudaMatrix& matrix, int columns,
                                const cuda::OperandStage& stage) {
  const auto name = some_rows_kernel(stage);
  return {cuda_kernel("matmul/" + name,
                      concat(name, "_", matrix.kernel_suffix(), "_n", columns)),
          {.grid_x =
               static_cast<unsigned>(cuda::some_rows_groups(matrix.row_blocks)),
           .block = cuda::kSomeRowsThreads,
           .shared_bytes = static_cast<unsigned>(
               cuda::some_rows_shared_bytes(matrix.layout, stage)),
           .is_cluster = stage.order == cuda::OperandOrder::fragments}};
}

/// Stages of a slice.
int slice_of(CudaModel& model, const CudaMatrix& matrix, int columns,
             const SomeRowsLaunch& how) {
  const int multiprocessors = model.device.multiprocessors;
  if (!how.shape.is_cluster) {
    return cuda::some_rows_slice(
        matrix.row_blocks, matrix.tiles,
        cuda::some_rows_together(columns, matrix.layout.bits), multiprocessors);
  }
  return cuda::some_rows_hopper_slice(matrix.row_blocks, matrix.tiles,
                                      clusters_of(model, how.kernel, how.shape),
                                      multiprocessors);
}

/// Up to most_some_rows() rows.
bool multiply_some(CudaModel& model, const CudaMatrix& matrix,
                   const ProductRows& x, const ProductTarget& target) {
  auto& space = model.space;
  const int columns = cuda::some_rows_columns(x.rows);
  const auto stages =
      stages_for(model, matrix, x.rows, space.stages[space.turn]);
  if (!x.are_operands) {
    make_stages(model, matrix, x, operand_of(matrix, stages.stage), stages);
  }
  auto how = some_rows_launch(matrix, columns, stages.stage);
  cuda::SomeRowsArgs args{};
  args.products = {matrix.bytes.as<const unsigned char>(),
                   matrix.row_blocks,
                   matrix.tiles,
                   reinterpret_cast<const std::uint16_t*>(stages.bytes),
                   nullptr,
                   x.rows,
                   stages.stage.planes,
                   matrix.bias.data(),
                   target.out,
                   matrix.rows,
                   target.stride,
                   target.output};
  args.norm = late_norm(model, matrix, x);
  args.next = next_operands(model, matrix, x.rows, target.next);
  args.slice = slice_of(model, matrix, columns, how);
  const int slices =
      ceil_div<int>(cuda::operand_stages(matrix.tiles), args.slice);
  how.shape.grid_y = static_cast<unsigned>(slices);
  if (!how.shape.is_cluster) {
    args.parts = space.product_parts.reserve<float>(
        cuda::some_rows_parts_bytes(matrix.row_blocks, columns, slices) /
        sizeof(float));
    args.counters = space.counters.as<unsigned>();
  }
  const bool makes_next = args.next.stages.bytes != nullptr;
  if (makes_next && target.output == cuda::Output::swiglu) {
    args.products.out = nullptr;
  }
  launch(model.stream, how.kernel, how.shape, args);
  if (makes_next) space.turn = 1 - space.turn;
  return makes_next;
}

/// More rows than that, as often as it takes.
void multiply_some_often(CudaModel& model, const CudaMatrix& matrix,
                         const ProductRows& x, const ProductTarget& target) {
  const int most = most_some_rows(model, matrix);
  for (int first = 0; first < x.rows; first += most) {
    multiply_some(model, matrix, x.from(first, most, matrix.cols),
                  target.from(first));
  }
}

/// The matrix as numbers of 16 bits.
const unsigned char* expanded(CudaModel& model, const CudaMatrix& matrix) {
  if (matrix.layout.bits == 0) return matrix.bytes.as<const unsigned char>();
  const auto tiles = static_cast<std::size_t>(matrix.row_blocks) * matrix.tiles;
  auto* out = model.space.expanded.reserve<unsigned char>(
      tiles * cuda::tile_bytes({operand_of(matrix), 0, 0}));
  launch(
      model.stream,
      cuda_kernel("matmul/expand", concat("expand_", matrix.kernel_suffix())),
      {.grid_x = ceil_div<unsigned>(tiles * 32, cuda::kExpandThreads),
       .block = cuda::kExpandThreads},
      cuda::ExpandArgs{matrix.bytes.as<const unsigned char>(),
                       static_cast<long long>(tiles), out});
  return out;
}

/// Rows of x that a block of warpgroups takes at a time: 256 or 128, by which
/// the multiprocessors are done sooner. Twice the rows take 1.3 times as long.
int hopper_tokens(const CudaModel& model, const CudaMatrix& matrix, int rows) {
  const auto turns = [&](int tokens) {
    return ceil_div<int>(cuda::hopper_pieces(tokens, rows, matrix.row_blocks),
                         model.device.multiprocessors);
  };
  return 13 * turns(256) < 10 * turns(128) ? 256 : 128;
}

void launch_many(CudaModel& model, const CudaMatrix& matrix,
                 const cuda::ManyRowsArgs& args) {
  const auto blocks_of_weight =
      ceil_div<unsigned>(static_cast<std::size_t>(args.row_blocks),
                         cuda::kManyRowsBlock / cuda::kTileRows);
  launch(model.stream,
         cuda_kernel("matmul/many_rows",
                     concat("many_rows_", operand_name(operand_of(matrix)))),
         {.grid_x = ceil_div<unsigned>(args.rows, cuda::kManyRowsTokens),
          .grid_y = blocks_of_weight,
          .block = cuda::kManyRowsThreads,
          .shared_bytes = cuda::kManyRowsSharedBytes},
         args);
}

void launch_many_hopper(CudaModel& model, const CudaMatrix& matrix,
                        const cuda::ManyRowsArgs& args) {
  const int tokens = hopper_tokens(model, matrix, args.rows);
  const auto shared =
      cuda::hopper_shared_bytes(tokens, matrix.layout.bits == 0);
  const auto name =
      concat("many_rows_hopper_", matrix.kernel_suffix(), "_n", tokens);
  launch(model.stream, cuda_kernel("matmul/many_rows_hopper", name),
         {.grid_x = cuda::hopper_blocks(tokens, args.rows, matrix.row_blocks,
                                        model.device.multiprocessors),
          .block = cuda::kHopperThreads,
          .shared_bytes = static_cast<unsigned>(shared)},
         args);
}

cuda::OperandOrder many_rows_order(const CudaModel& model,
                                   const CudaMatrix& matrix) {
  if (!has_warpgroups(model.device)) return cuda::OperandOrder::rows;
  return matrix.layout.bits == 0 ? cuda::OperandOrder::tiles
                                 : cuda::OperandOrder::fragments;
}

bool multiply_many(CudaModel& model, const CudaMatrix& matrix,
                   const ProductRows& x, const ProductTarget& target) {
  const bool by_warpgroups = has_warpgroups(model.device);
  const int planes = planes_of(model, operand_of(matrix));
  const auto* weight = by_warpgroups ? matrix.bytes.as<const unsigned char>()
                                     : expanded(model, matrix);
  const auto operands =
      x.are_operands
          ? ManyOperands{model.space.handed.as<const std::uint16_t>(), nullptr}
          : make_operands(model, matrix, x, planes,
                          many_rows_order(model, matrix));
  // What is read cannot be written meanwhile.
  const bool has_next = target.output == cuda::Output::swiglu &&
                        target.next.matrix != nullptr && !x.are_operands;
  const cuda::ManyRowsArgs args{
      weight,
      matrix.row_blocks,
      matrix.tiles,
      operands.numbers,
      operands.scales,
      x.rows,
      planes,
      matrix.bias.data(),
      target.out,
      matrix.rows,
      target.stride,
      target.output,
      has_next ? handed_operands(model, *target.next.matrix, x.rows) : nullptr};
  if (by_warpgroups) {
    launch_many_hopper(model, matrix, args);
  } else {
    launch_many(model, matrix, args);
  }
  return args.operands != nullptr;
}

}  // namespace

cuda::OperandOrder stage_order(const CudaDeviceInfo& device, int rows) {
  return has_warpgroups(device) && rows > 8 ? cuda::OperandOrder::fragments
                                            : cuda::OperandOrder::rows;
}

OperandTarget operands_for(CudaModel& model, const NextProduct& next,
                           int rows) {
  auto& space = model.space;
  const auto& matrix = *next.matrix;
  if (!reads_stages(model, matrix, rows)) return {{}, operand_of(matrix)};
  const auto stages = stages_for(model, matrix, rows, space.stages[space.turn]);
  const auto type = operand_of(matrix, stages.stage);
  if (next.norm == nullptr) return {{stages, nullptr, nullptr}, type};
  const int row_blocks = ceil_div<int>(matrix.cols, cuda::kTileRows);
  return {{stages, next.norm->data(), squares_of(model, row_blocks)}, type};
}

std::uint16_t* handed_operands(CudaModel& model, const CudaMatrix& matrix,
                               int rows) {
  const bool takes_them = way_of(model, matrix, rows) == Way::many &&
                          has_warpgroups(model.device) &&
                          matrix.layout.bits == 0 &&
                          matrix.layout.type == cuda::NumberType::bf16 &&
                          planes_of(model, cuda::NumberType::bf16) == 1 &&
                          matrix.cols % cuda::kTileCols == 0;
  if (!takes_them) return nullptr;
  return model.space.handed.reserve<std::uint16_t>(
      static_cast<std::size_t>(rows) * matrix.cols);
}

bool multiply(CudaModel& model, const CudaMatrix& matrix, const ProductRows& x,
              const ProductTarget& target) {
  switch (way_of(model, matrix, x.rows)) {
    case Way::few:
      multiply_few(model, matrix, x, target);
      return false;
    case Way::some:
      if (reads_stages(model, matrix, x.rows)) {
        return multiply_some(model, matrix, x, target);
      }
      multiply_some_often(model, matrix, x, target);
      return false;
    case Way::many:
      return multiply_many(model, matrix, x, target);
  }
  return false;
}

void multiply_gates(CudaModel& model, const float* gate_up, int rows, int inner,
                    float* hidden) {
  const auto count = static_cast<std::size_t>(rows) * inner;
  constexpr unsigned kThreads = 256;
  launch(model.stream, cuda_kernel("matmul/gates", "multiply_gates"),
         {.grid_x = ceil_div<unsigned>(count, kThreads), .block = kThreads},
         cuda::GatesArgs{gate_up, rows, inner, hidden});
}

}  // namespace llamlx
