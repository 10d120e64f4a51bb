#include <gtest/gtest.h>

#include "cuda/experts/add.h"
#include "cuda/experts/products_testing.h"

namespace llamlx::cuda {
namespace {

class ExpertsSomeTest : public ::testing::TestWithParam<PackedLayout> {};

/// A few rows, which all groups have; groups of what goes to an expert; and
/// gates, after which each group's rows are its own.
TEST_P(ExpertsSomeTest, EveryFormatMultiplies) {
  GroupsCase c{.layout = GetParam(),
               .grouping = {3, 5, 2, 0},
               .weight_rows = 37,
               .cols = 320,
               .is_normed = true};
  GroupsCheck(c).multiply_some();
  c.grouping = {41, 4, 2, 16};
  c.slice = 2;
  GroupsCheck(c).multiply_some();
  c.output = Output::swiglu;
  c.weight_rows = 70;
  c.grouping = {6, 4, 2, 0};
  c.slice = 1;
  GroupsCheck(c).multiply_some();
  c.x_is_of_places = true;
  c.is_normed = false;
  c.grouping = {35, 3, 1, 32};
  GroupsCheck(c).multiply_some();
}

INSTANTIATE_TEST_SUITE_P(All, ExpertsSomeTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

TEST(ExpertsSome, OneRow) {
  for (const int planes : {1, 3}) {
    const GroupsCase c{.layout = {NumberType::bf16, 4, 64},
                       .grouping = {1, 60, 6, 0},
                       .weight_rows = 140,
                       .cols = 576,
                       .planes = planes,
                       .is_normed = true,
                       .output = Output::swiglu};
    GroupsCheck(c).multiply_some();
  }
}

TEST(ExpertsSome, RowsOfEachPlace) {
  const GroupsCase c{.layout = {NumberType::f16, 4, 32},
                     .grouping = {5, 7, 3, 0},
                     .weight_rows = 96,
                     .cols = 160,
                     .x_is_of_places = true};
  GroupsCheck(c).multiply_some();
}

TEST(ExpertsSome, OneAndAllExpertsOfARow) {
  GroupsCase c{.layout = {NumberType::bf16, 0, 0},
               .grouping = {21, 1, 1, 8},
               .weight_rows = 40,
               .cols = 96,
               .planes = 2,
               .is_normed = true};
  GroupsCheck(c).multiply_some();
  c.grouping = {9, 4, 4, 8};
  GroupsCheck(c).multiply_some();
  c.grouping = {8, 4, 4, 0};
  GroupsCheck(c).multiply_some();
}

TEST(ExpertsFew, OfFloat32) {
  GroupsCase c{.layout = {NumberType::f32, 0, 0},
               .grouping = {3, 5, 2, 0},
               .weight_rows = 37,
               .cols = 160,
               .is_normed = true,
               .output = Output::swiglu};
  GroupsCheck(c).multiply_few();
  c.output = Output::store;
  c.is_normed = false;
  c.x_is_of_places = true;
  c.grouping = {8, 3, 3, 0};
  GroupsCheck(c).multiply_few();
  c.grouping = {1, 9, 4, 0};
  GroupsCheck(c).multiply_few();
}

class ExpertsManyTest : public ::testing::TestWithParam<PackedLayout> {};

/// Groups that are full and not, of rows that lie anywhere; and gates.
TEST_P(ExpertsManyTest, EveryFormatMultiplies) {
  GroupsCase c{.layout = GetParam(),
               .grouping = {150, 2, 1, kManyRowsTokens},
               .weight_rows = 37,
               .cols = 160,
               .is_normed = true};
  if (GetParam().group == 64) c.cols = 192;
  GroupsCheck(c).multiply_many();
  c.output = Output::swiglu;
  c.weight_rows = 70;
  c.grouping = {10, 4, 2, kManyRowsTokens};
  GroupsCheck(c).multiply_many();
}

INSTANTIATE_TEST_SUITE_P(All, ExpertsManyTest,
                         ::testing::ValuesIn(layouts_of_16_bits()),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

TEST(ExpertsMany, OneExpertOfAllRowsAndRowsOfAllExperts) {
  GroupsCase c{.layout = {NumberType::bf16, 0, 0},
               .grouping = {300, 1, 1, kManyRowsTokens},
               .weight_rows = 20,
               .cols = 64,
               .planes = 2};
  GroupsCheck(c).multiply_many();
  c.grouping = {9, 4, 4, kManyRowsTokens};
  c.weight_rows = 150;
  GroupsCheck(c).multiply_many();
}

TEST(ExpertsMany, RowsOfEachPlace) {
  const GroupsCase c{.layout = {NumberType::f32, 4, 64},
                     .grouping = {70, 6, 2, kManyRowsTokens},
                     .weight_rows = 96,
                     .cols = 128,
                     .x_is_of_places = true};
  GroupsCheck(c).multiply_many();
}

/// Slices are only where there are counters for them.
TEST(ExpertsSlice, IsWholeWhereThereAreManyGroups) {
  constexpr int kTogether = some_rows_together(1, 4);
  const int stages = operand_stages(32);
  EXPECT_EQ(experts_some_slice(96, 32, kTogether, 8, 8, 132) < stages, true);
  EXPECT_EQ(experts_some_slice(96, 32, kTogether, 100, 192, 132), stages);
  EXPECT_EQ(experts_some_slice(96, 32, kTogether, 8, kSlicedBlocks, 1 << 20),
            stages);
}

/// Rows and what their experts made of them.
struct Sums {
  Grouping grouping;
  int cols;
  std::mt19937 random{3};
  Routes routes{random_routes(grouping, random)};
  std::vector<float> x, outputs, norm;

  Sums(const Grouping& how, int columns) : grouping(how), cols(columns) {
    std::normal_distribution<float> normal;
    const auto fill = [&](int count) {
      std::vector<float> v(static_cast<std::size_t>(count));
      for (auto& value : v) value = normal(random);
      return v;
    };
    x = fill(how.rows * cols);
    outputs = fill(how.places() * cols);
    norm = fill(cols);
  }

  std::vector<float> add(const char* operand, const NextOperands& next) {
    auto result = x;
    const int rows = std::max(grouping.rows, next.stages.stage.rows);
    emulate(std::string("add_experts_") + operand,
            {.grid_x = static_cast<unsigned>(rows),
             .block = kAddThreads,
             .shared_bytes =
                 static_cast<unsigned>(add_shared_bytes(grouping.used))},
            AddExpertsArgs{result.data(), grouping.rows, cols, outputs.data(),
                           routes.chosen.data(), routes.shares.data(),
                           routes.places.data(), grouping.used,
                           grouping.experts, next});
    return result;
  }

  void expect(const std::vector<float>& result) const {
    for (int row = 0; row < grouping.rows; ++row) {
      for (int col = 0; col < cols; ++col) {
        const auto at = static_cast<std::size_t>(row * cols + col);
        double sum = x[at];
        double magnitude = std::abs(sum);
        for (int i = 0; i < grouping.used; ++i) {
          const auto pair = static_cast<std::size_t>(row * grouping.used + i);
          const int place = routes.place(row, routes.chosen[pair]);
          const double part =
              double{routes.shares[pair]} *
              outputs[static_cast<std::size_t>(place * cols + col)];
          sum += part;
          magnitude += std::abs(part);
        }
        ASSERT_NEAR(result[at], sum, magnitude * (grouping.used + 1) * 0x1p-24);
      }
    }
  }
};

TEST(AddExperts, AddsSharesOfWhatTheyMade) {
  for (const auto& how : {Grouping{1, 128, 8, 0}, Grouping{5, 9, 3, 0},
                          Grouping{11, 4, 4, 8}, Grouping{70, 6, 1, 32}}) {
    for (const int cols : {36, 2180}) {
      Sums sums(how, cols);
      sums.expect(sums.add("f16", {}));
    }
  }
}

/// As some_rows makes them: of 8 rows, with sums of squares for every 128
/// columns.
TEST(AddExperts, MakesOperandsForTheNext) {
  for (const bool is_bf16 : {false, true}) {
    constexpr int kCols = 324;
    Sums sums({5, 9, 3, 0}, kCols);
    TestStages next(
        some_rows_stage({NumberType::bf16, 4, 32}, 1, 2, OperandOrder::rows),
        ceil_div(kCols, kTileCols));
    next.squares.resize(
        static_cast<std::size_t>(some_rows_groups(ceil_div(kCols, kTileRows))) *
            8,
        NAN);
    const auto x =
        sums.add(is_bf16 ? "bf16" : "f16",
                 {next.view(), sums.norm.data(), next.squares.data()});
    sums.expect(x);
    auto written = x;
    ManyRowsArgs products{};
    products.rows = 5;
    products.out = written.data();
    products.out_stride = kCols;
    expect_next(next, is_bf16, products, sums.norm, kCols);
  }
}

}  // namespace
}  // namespace llamlx::cuda
