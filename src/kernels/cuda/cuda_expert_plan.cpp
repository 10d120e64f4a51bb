#include "kernels/cuda/cuda_expert_plan.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "cuda/experts/some_rows.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_pass.h"

namespace llamlx {
namespace {

/// Up to so many rows an expert, on average, go by experts_some: it is faster
/// that far (docs/performance.md), and was not timed with more.
constexpr int kSomeRowsAnExpert = 128;

int most_by_some(const ExpertSizes& sizes) {
  return std::max(cuda::kSomeRowsMost,
                  kSomeRowsAnExpert * sizes.experts / sizes.used);
}

/// Half as many again as an expert has on average: few have two groups, and
/// read their weight twice.
int rows_of_group(const ExpertSizes& sizes, int rows) {
  const int expected = ceil_div<int>(3 * rows * sizes.used, 2 * sizes.experts);
  return 8 *
         cuda::some_rows_columns(std::min(expected, cuda::kSomeRowsOfGroup));
}

/// What a product is made of.
struct ProductSize {
  int row_blocks;
  int cols;

  int tiles() const { return ceil_div<int>(cols, cuda::kTileCols); }
};

/// Of gates, and of down.
std::array<ProductSize, 2> products_of(const ExpertSizes& sizes) {
  const int gates = sizes.is_apart
                        ? ceil_div<int>(sizes.inner, cuda::kTileRows)
                        : ceil_div<int>(sizes.inner, cuda::kTileRows / 2);
  return {{{gates, sizes.hidden},
           {ceil_div<int>(sizes.hidden, cuda::kTileRows), sizes.inner}}};
}

/// Stages for every group, and what slices have. Gates of rows that all groups
/// have read those of other products.
void add_some(const ExpertSizes& sizes, const cuda::Grouping& grouping,
              bool is_exact, int multiprocessors, ExpertBytes& bytes) {
  const int rows =
      grouping.has_all_rows() ? kRowsOfAllGroups : grouping.group_rows;
  const cuda::OperandStage stage{rows, is_exact ? 3 : 1,
                                 sizes.has_halves ? 32 : 64,
                                 cuda::OperandOrder::rows};
  const auto groups = static_cast<std::size_t>(grouping.most_groups());
  const auto products = products_of(sizes);
  for (std::size_t i = 0; i < products.size(); ++i) {
    const auto& product = products[i];
    const int stages = cuda::operand_stages(product.tiles());
    const int slice = cuda::experts_some_slice(
        product.row_blocks, product.tiles(),
        cuda::some_rows_together(rows / 8, sizes.bits),
        expected_groups(grouping), grouping.most_groups(), multiprocessors);
    bytes.parts = std::max(
        bytes.parts, cuda::experts_some_parts_bytes(
                         product.row_blocks, rows / 8,
                         ceil_div<int>(stages, slice), grouping.most_groups()));
    if (i == 0 && grouping.has_all_rows()) continue;
    bytes.own += groups * static_cast<std::size_t>(stages) * stage.bytes();
  }
}

std::size_t many_operands(const ExpertSizes& sizes,
                          const cuda::Grouping& grouping) {
  const auto numbers = [](int rows, int cols) {
    return static_cast<std::size_t>(rows) *
           ceil_div<std::size_t>(cols, cuda::kTileCols) * cuda::kTileCols;
  };
  return 2 * std::max(numbers(grouping.rows, sizes.hidden),
                      numbers(grouping.places(), sizes.inner));
}

}  // namespace

ExpertPlan plan_experts(const ExpertSizes& sizes, int rows,
                        cuda::NumberType compute) {
  if (sizes.has_wide || rows <= kRowsOfAllGroups) {
    return {kRowsOfAllGroups, 0, false};
  }
  const int some = most_by_some(sizes);
  // As everywhere: numbers that codes become have fewer digits than float32.
  const bool is_exact = compute == cuda::NumberType::f32;
  if (!is_exact && rows > some) {
    return {kCudaPrefillRows, cuda::kManyRowsTokens, true};
  }
  return {some, rows_of_group(sizes, std::min(rows, some)), false};
}

int expected_groups(const cuda::Grouping& grouping) {
  const auto& [rows, experts, used, group_rows] = grouping;
  const double left_out = 1 - double(used) / experts;
  const auto reached =
      static_cast<int>(std::lround(experts * (1 - std::pow(left_out, rows))));
  if (grouping.has_all_rows()) return std::max(1, reached);
  return std::max({1, reached, ceil_div<int>(rows * used, group_rows)});
}

ExpertBytes expert_bytes(const ExpertSizes& sizes, int rows,
                         cuda::NumberType compute, int multiprocessors) {
  const auto plan = plan_experts(sizes, rows, compute);
  const cuda::Grouping grouping{std::min(rows, plan.rows), sizes.experts,
                                sizes.used, plan.group_rows};
  const auto places = static_cast<std::size_t>(grouping.places());
  const auto table = static_cast<std::size_t>(grouping.rows) * sizes.experts;
  const int inner = (sizes.is_apart ? 3 : 1) * sizes.inner;
  ExpertBytes bytes;
  bytes.own =
      4 * (places * static_cast<std::size_t>(inner + sizes.hidden) + 2 * table);
  if (plan.is_many) {
    bytes.operands = many_operands(sizes, grouping);
  } else if (!sizes.has_wide) {
    add_some(sizes, grouping, compute == cuda::NumberType::f32, multiprocessors,
             bytes);
  }
  return bytes;
}

}  // namespace llamlx
