#pragma once

#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/experts/few_rows.h"
#include "cuda/experts/many_rows.h"
#include "cuda/experts/route_testing.h"
#include "cuda/experts/some_rows.h"
#include "cuda/experts/stages.h"
#include "cuda/matmul/product_testing.h"

// Products of groups of rows with the weights of their experts, against
// float64. Only *_test.cpp files include this.
namespace llamlx::cuda {

struct GroupsCase {
  PackedLayout layout{};
  Grouping grouping{};
  int weight_rows = 0;  ///< of one expert
  int cols = 0;
  int planes = 1;
  bool is_normed = false;
  bool x_is_of_places = false;
  Output output = Output::store;
  int slice = 1;  ///< stages of x, of some_rows
};

/// A case's numbers, what the kernels make of them and what they should.
class GroupsCheck {
 public:
  explicit GroupsCheck(const GroupsCase& c)
      : c_(c),
        routes_(random_routes(c.grouping, random_)),
        w_(make_weight()),
        up_(make_weight()),
        packed_(is_gated() ? pack_weights({&w_, &up_}, true, c.grouping.experts)
                           : pack_weights({&w_}, false, c.grouping.experts)),
        x_(fill(c.x_is_of_places ? c.grouping.places() : c.grouping.rows)),
        norm_(fill(1)),
        out_(static_cast<std::size_t>(c.grouping.places() * c.weight_rows),
             NAN),
        is_bf16_(!c.layout.is_affine() && c.layout.type == NumberType::bf16) {
    norm_.resize(static_cast<std::size_t>(std::max(c.cols, c.weight_rows)), 1);
  }

  /// By experts_some, which also makes operands of what it writes.
  void multiply_some() {
    const int group_rows =
        c_.grouping.has_all_rows() ? 8 : c_.grouping.group_rows;
    const int columns = some_rows_columns(group_rows);
    const auto stage =
        some_rows_stage(c_.layout, columns, c_.planes, OperandOrder::rows);
    auto x = make_x_stages(stage);
    auto next = stages_of_groups(stage, ceil_div(c_.weight_rows, kTileCols));
    const auto blocks =
        static_cast<unsigned>(some_rows_groups(packed_.row_blocks));
    const int slices = ceil_div(operand_stages(packed_.tiles), c_.slice);
    const int groups = c_.grouping.most_groups();
    std::vector<Words4> parts(
        experts_some_parts_bytes(packed_.row_blocks, columns, slices, groups) /
            16,
        {{~0U, ~0U, ~0U, ~0U}});
    std::vector<unsigned> counters(blocks * static_cast<unsigned>(groups));
    ExpertsSomeArgs args{};
    args.each = {products(),
                 late_norm_,
                 {next.view(), norm_.data(), nullptr},
                 c_.slice,
                 reinterpret_cast<float*>(parts.data()),
                 counters.data()};
    args.each.products.x =
        reinterpret_cast<const std::uint16_t*>(x.bytes.data());
    args.groups = routes_.view();
    args.weight_stride = packed_.expert_bytes();
    args.x_stride = is_shared() ? 0 : bytes_of_group(stage, packed_.tiles);
    args.next_stride =
        bytes_of_group(stage, ceil_div(c_.weight_rows, kTileCols));
    emulate(
        "experts_some_" + to_string(c_.layout) + "_n" + std::to_string(columns),
        {.grid_x = blocks,
         .grid_y = static_cast<unsigned>(slices),
         .grid_z = static_cast<unsigned>(groups),
         .block = kSomeRowsThreads,
         .shared_bytes =
             static_cast<unsigned>(some_rows_shared_bytes(c_.layout, stage))},
        args);
    EXPECT_EQ(counters, std::vector<unsigned>(counters.size()));
    expect_next(next, args.next_stride);
    expect_all({std::pow(is_bf16_ ? 0x1p-8 : 0x1p-11, c_.planes), 0});
  }

  /// By experts_few.
  void multiply_few() {
    constexpr int kBlocks = 3;
    ExpertsFewArgs args{};
    args.each.weight = packed_.data();
    args.each.row_blocks = packed_.row_blocks;
    args.each.tiles = packed_.tiles;
    args.each.cols = c_.cols;
    args.each.x = x_.data();
    args.each.rows = c_.grouping.rows;
    args.each.norm = c_.is_normed ? norm_.data() : nullptr;
    args.each.largest_norm = 1;
    args.each.eps = kProductEps;
    args.each.planes = 1;
    args.each.share = kFewRowsWarps;
    args.each.chunk = 1;
    args.each.stages = 2;
    args.each.out = out_.data();
    args.each.out_rows = packed_.rows;
    args.each.out_stride = c_.weight_rows;
    args.each.output = c_.output;
    args.groups = routes_.view();
    args.weight_stride = packed_.expert_bytes();
    args.x_is_of_places = c_.x_is_of_places ? 1 : 0;
    emulate("experts_few_f32",
            {.grid_x = kBlocks,
             .grid_z = static_cast<unsigned>(c_.grouping.most_groups()),
             .block = kFewRowsThreads,
             .shared_bytes = static_cast<unsigned>(few_rows_shared_bytes(
                 c_.layout, packed_.tiles, c_.grouping.rows, 1, 1, 2))},
            args);
    expect_all({0x1p-22, 0});
  }

  /// By experts_many.
  void multiply_many() {
    const int rows = static_cast<int>(x_.size()) / c_.cols;
    const int stride = packed_.tiles * kTileCols;
    std::vector<Words4> operands(
        static_cast<std::size_t>(c_.planes * rows * stride) / 8,
        {{~0U, ~0U, ~0U, ~0U}});
    std::vector<float> scales(static_cast<std::size_t>(rows));
    auto* numbers = reinterpret_cast<std::uint16_t*>(operands.data());
    emulate("make_operands_" + operand_type(),
            {.grid_x = static_cast<unsigned>(rows),
             .block = kOperandThreads,
             .shared_bytes = 256},
            OperandArgs{x_.data(), rows, c_.cols, stride,
                        c_.is_normed ? norm_.data() : nullptr, kProductEps,
                        c_.planes, OperandOrder::rows, numbers, scales.data()});
    ExpertsManyArgs args{};
    args.each = products();
    args.each.x = numbers;
    args.each.scales = scales.data();
    args.each.rows = rows;
    args.groups = routes_.view();
    args.rows_of = c_.x_is_of_places ? nullptr : routes_.rows_of.data();
    args.weight_stride = packed_.expert_bytes();
    emulate("experts_many_" + to_string(c_.layout),
            {.grid_x = static_cast<unsigned>(c_.grouping.most_groups()),
             .grid_y = static_cast<unsigned>(
                 ceil_div(packed_.row_blocks, kManyRowsBlock / kTileRows)),
             .block = kManyRowsThreads,
             .shared_bytes = kExpertsManySharedBytes},
            args);
    expect_all({std::pow(is_bf16_ ? 0x1p-8 : 0x1p-11, c_.planes),
                c_.layout.is_affine() ? 0x1p-11 : 0});
  }

 private:
  const GroupsCase& c_;
  std::mt19937 random_{1};
  Routes routes_;
  TestWeight w_, up_;
  Packed packed_;
  std::vector<float> x_, norm_, out_;
  bool is_bf16_;
  LateNorm late_norm_{};

  bool is_gated() const { return c_.output == Output::swiglu; }
  std::string operand_type() const { return is_bf16_ ? "bf16" : "f16"; }
  /// Whether all groups read the same rows.
  bool is_shared() const {
    return c_.grouping.has_all_rows() && !c_.x_is_of_places;
  }

  std::vector<float> fill(int rows) {
    std::normal_distribution<float> normal;
    std::vector<float> v(static_cast<std::size_t>(rows * c_.cols));
    for (auto& x : v) x = normal(random_);
    return v;
  }
  TestWeight make_weight() {
    return random_weight(c_.layout, c_.layout.group,
                         c_.grouping.experts * c_.weight_rows, c_.cols,
                         random_);
  }
  ManyRowsArgs products() {
    return {packed_.data(), packed_.row_blocks, packed_.tiles,  nullptr,
            nullptr,        c_.grouping.rows,   c_.planes,      nullptr,
            out_.data(),    packed_.rows,       c_.weight_rows, c_.output};
  }

  static long long bytes_of_group(const OperandStage& stage, int tiles) {
    return static_cast<long long>(operand_stages(tiles)) * stage.bytes();
  }
  TestStages stages_of_groups(const OperandStage& stage, int tiles) const {
    return {stage, c_.grouping.most_groups() * operand_stages(tiles) *
                       OperandStage::kTiles};
  }

  TestStages make_x_stages(const OperandStage& stage) {
    const auto* norm = c_.is_normed ? norm_.data() : nullptr;
    auto stages = stages_of_groups(stage, packed_.tiles);
    EmulatedShape grid{.grid_x = static_cast<unsigned>(stage.rows),
                       .block = kStageThreads,
                       .shared_bytes = 256};
    if (is_shared()) {
      squares_.resize(static_cast<std::size_t>(stage.rows));
      emulate("make_stages_" + operand_type(), grid,
              StageArgs{x_.data(), c_.grouping.rows, c_.cols, packed_.tiles,
                        norm, stages.view(),
                        norm == nullptr ? nullptr : squares_.data()});
      if (norm != nullptr)
        late_norm_ = {squares_.data(), 1, c_.cols, kProductEps};
      return stages;
    }
    grid.grid_y = static_cast<unsigned>(c_.grouping.most_groups());
    const auto norms = norms_of_rows();
    emulate("make_group_stages_" + operand_type(), grid,
            GroupStageArgs{x_.data(), c_.cols, packed_.tiles, norm,
                           norm == nullptr ? nullptr : norms.data(),
                           c_.x_is_of_places ? nullptr : routes_.rows_of.data(),
                           routes_.view(), stages.view(),
                           bytes_of_group(stage, packed_.tiles)});
    return stages;
  }
  std::vector<float> norms_of_rows() const {
    std::vector<float> norms;
    for (std::size_t at = 0; at < x_.size();
         at += static_cast<std::size_t>(c_.cols)) {
      double squares = 0;
      for (int k = 0; k < c_.cols; ++k) {
        squares += double{x_[at + static_cast<std::size_t>(k)]} *
                   x_[at + static_cast<std::size_t>(k)];
      }
      norms.push_back(
          static_cast<float>(1 / std::sqrt(squares / c_.cols + kProductEps)));
    }
    return norms;
  }

  /// Each group's operands are what was written for it, and zeros after.
  void expect_next(const TestStages& all, long long stride) const {
    for (int g = 0; g < routes_.num_groups; ++g) {
      const auto& group = routes_.groups[static_cast<std::size_t>(g)];
      TestStages its(all.stage, ceil_div(c_.weight_rows, kTileCols));
      std::copy_n(all.bytes.begin() + g * stride / 16, its.bytes.size(),
                  its.bytes.begin());
      for (int row = 0; row < all.stage.rows; ++row) {
        expect_row(its, is_bf16_, row, c_.weight_rows, [&](int col) {
          if (row >= group.count) return 0.0;
          const int at = (group.first + row) * c_.weight_rows + col;
          return double{out_[static_cast<std::size_t>(at)]} *
                 norm_[static_cast<std::size_t>(col)];
        });
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }

  void expect_all(const ProductRounding& by) const {
    for (int row = 0; row < c_.grouping.rows; ++row) {
      for (int i = 0; i < c_.grouping.used; ++i) {
        const int pair = row * c_.grouping.used + i;
        expect_place(row, routes_.chosen[static_cast<std::size_t>(pair)], by);
        if (::testing::Test::HasFatalFailure()) return;
      }
    }
  }
  void expect_place(int row, int expert, const ProductRounding& by) const {
    const int place = routes_.place(row, expert);
    const auto* x = x_.data() + (c_.x_is_of_places ? place : row) * c_.cols;
    const auto* norm = c_.is_normed ? norm_.data() : nullptr;
    for (int n = 0; n < c_.weight_rows; ++n) {
      const int its = expert * c_.weight_rows + n;
      auto sum = product_of(w_, its, x, norm, by);
      if (is_gated()) sum = gated(sum, product_of(up_, its, x, norm, by));
      const auto at = static_cast<std::size_t>(place * c_.weight_rows + n);
      ASSERT_NEAR(out_[at], sum.value,
                  sum.error + 0x1p-22 * std::abs(sum.value) + 0x1p-30)
          << "row " << row << ", expert " << expert << ", output " << n;
    }
  }

  std::vector<float> squares_;
};

}  // namespace llamlx::cuda
