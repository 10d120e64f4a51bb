#include "cuda/attention/few_rows.h"

#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/attention/attention_testing.h"
#include "cuda/matmul/stages_testing.h"

namespace llamlx::cuda {
namespace {

using testing::Pass;
using testing::Reference;
using testing::Setting;
using testing::type_name;

/// Two numbers of 16 bits hold queries and weights; before, queries go through
/// some 16 roundings of float32 (norm, turn, scale).
Reference::Rounding rounding_of_few(NumberType type) {
  const auto operand = type == NumberType::q8 ? NumberType::bf16 : type;
  const double rest = testing::unit(operand) * testing::unit(operand);
  const double coarse = type == NumberType::f32 ? 0 : rest;
  return {coarse + 16 * testing::kUnit, coarse};
}

/// To `next`, if it is given, else to pass.out.
void run_few(Pass& pass, int splits, TestStages* next = nullptr) {
  const auto& set = pass.set;
  const auto bytes =
      attention_few_parts_bytes(set.rows(), set.heads, splits, set.dim);
  std::vector<Words4> parts(bytes / sizeof(Words4), {{~0U, ~0U, ~0U, ~0U}});
  std::vector<unsigned> counters(set.segments.size() *
                                 static_cast<std::size_t>(set.kv_heads));
  const AttentionFewArgs args{
      .segments = pass.segments(),
      .layer = Pass::kLayer,
      .num_heads = set.heads,
      .num_kv_heads = set.kv_heads,
      .head_dim = set.dim,
      .window = set.window,
      .qkv = pass.qkv.data(),
      .q_norm = set.has_norms ? pass.q_norm.data() : nullptr,
      .k_norm = set.has_norms ? pass.k_norm.data() : nullptr,
      .eps = Pass::kEps,
      .cos_sin = pass.cos_sin.data(),
      .traditional = set.traditional,
      .out = next == nullptr ? pass.out.data() : nullptr,
      .next = next == nullptr ? Stages{} : next->view(),
      .next_type = NumberType::f16,
      .parts = reinterpret_cast<float*>(parts.data()),
      .counters = counters.data()};
  emulate("attention_few_" + type_name(set.type) + "_d" +
              std::to_string(attention_padded_dim(set.dim)),
          {.grid_x = static_cast<unsigned>(set.kv_heads),
           .grid_y = static_cast<unsigned>(splits),
           .grid_z = static_cast<unsigned>(set.segments.size()),
           .block = kAttentionFewThreads,
           .shared_bytes = static_cast<unsigned>(
               attention_few_shared_bytes(set.type, set.dim))},
          args);
  EXPECT_EQ(counters, std::vector<unsigned>(counters.size(), 0U));
}

/// The answers as operands of products are those that pass.out has.
void expect_operands(Pass& pass, int splits) {
  const auto& set = pass.set;
  const int width = set.heads * set.dim;
  for (const auto order : {OperandOrder::rows, OperandOrder::fragments}) {
    TestStages next({(set.rows() + 7) / 8 * 8, 2, 32, order},
                    width / kTileCols);
    run_few(pass, splits, &next);
    for (int row = 0; row < set.rows(); ++row) {
      expect_row(next, false, row, width, [&](int col) {
        return pass.out[static_cast<std::size_t>(row * width + col)];
      });
    }
  }
}

void expect_few(const Setting& set, int splits) {
  SCOPED_TRACE(::testing::Message()
               << "type " << static_cast<int>(set.type) << " heads "
               << set.heads << "/" << set.kv_heads << " dim " << set.dim
               << " window " << set.window << " offset "
               << set.segments[0].offset << " length " << set.segments[0].length
               << " splits " << splits);
  Pass pass(set);
  const auto before = pass.caches;
  run_few(pass, splits);
  expect_appended(pass, before);
  const Reference reference(pass);
  expect_near_reference(
      pass,
      [&](int row, int head) { return reference.scaled_query(row, head); },
      rounding_of_few(set.type));
  if (set.dim % kTileCols == 0) expect_operands(pass, splits);
}

constexpr NumberType kTypes[] = {NumberType::f32, NumberType::f16,
                                 NumberType::bf16, NumberType::q8};

TEST(AttentionFewTest, DecodesAtAnyOffset) {
  for (const int offset : {0, 1, 63, 64, 200}) {
    for (const auto type : kTypes) {
      expect_few({.type = type, .segments = {{offset, 1}}}, 4);
    }
  }
}

TEST(AttentionFewTest, SplitsManyPositions) {
  for (const auto type : kTypes) {
    for (const int positions : {kMostUnsplit, kMostUnsplit + 1, 1500}) {
      for (const int splits : {1, 2, 9}) {
        expect_few({.type = type, .heads = 2, .segments = {{positions, 1}}},
                   splits);
      }
    }
  }
}

TEST(AttentionFewTest, FitsTheSmallestSharedMemory) {
  for (const auto type : kTypes) {
    for (const int dim : {64, 128, 256}) {
      EXPECT_LE(attention_few_shared_bytes(type, dim), 99 << 10);
    }
  }
}

TEST(AttentionFewTest, SplitsWhatTheWindowShows) {
  expect_few({.type = NumberType::bf16,
              .heads = 2,
              .window = 1200,
              .has_norms = true,
              .segments = {{1500, 3}, {40, 2}, {1300, 0}}},
             4);
}

TEST(AttentionFewTest, NewRowsSeeEachOther) {
  for (const auto type : kTypes) {
    expect_few({.type = type, .segments = {{0, 8}}}, 2);
    expect_few({.type = type, .segments = {{64, 2}}}, 1);
    expect_few({.type = type, .heads = 3, .segments = {{130, 5}}}, 3);
  }
}

TEST(AttentionFewTest, AnyGroupOfHeads) {
  for (const auto type : kTypes) {
    expect_few(
        {.type = type, .heads = 2, .kv_heads = 2, .segments = {{100, 2}}}, 2);
    expect_few(
        {.type = type, .heads = 16, .kv_heads = 2, .segments = {{70, 1}}}, 3);
  }
  // More queries than a block takes at once, and three tiles of them.
  for (const auto type : kTypes) {
    expect_few({.type = type, .heads = 9, .segments = {{90, 8}}}, 2);
    expect_few({.type = type, .heads = 3, .segments = {{1100, 8}}}, 3);
    expect_few({.type = type, .heads = 3, .dim = 256, .segments = {{60, 5}}},
               1);
  }
}

TEST(AttentionFewTest, AnyHeadDim) {
  for (const int dim : {8, 40, 72, 80, 128, 136, 256}) {
    for (const auto type : kTypes) {
      expect_few({.type = type,
                  .heads = 2,
                  .dim = dim,
                  .traditional = dim % 16 == 0,
                  .has_norms = true,
                  .segments = {{70, 3}}},
                 2);
    }
  }
}

TEST(AttentionFewTest, SeesOnlyTheWindow) {
  for (const auto type : kTypes) {
    for (const int window : {1, 3, 17, 100}) {
      expect_few(
          {.type = type, .heads = 2, .window = window, .segments = {{150, 4}}},
          2);
    }
  }
}

TEST(AttentionFewTest, NormsAndTurns) {
  for (const auto type : kTypes) {
    for (const bool traditional : {false, true}) {
      for (const bool has_norms : {false, true}) {
        expect_few({.type = type,
                    .traditional = traditional,
                    .has_norms = has_norms,
                    .segments = {{20, 2}}},
                   1);
      }
    }
  }
}

TEST(AttentionFewTest, SegmentsDoNotMix) {
  expect_few({.type = NumberType::bf16,
              .kv_heads = 2,
              .segments = {{3, 2}, {0, 0}, {150, 1}}},
             3);
}

TEST(AttentionFewTest, SplitsDoNotChangeTheBits) {
  Pass first({.segments = {{1300, 2}}});
  Pass second(first.set);
  run_few(first, 3);
  run_few(second, 3);
  EXPECT_EQ(first.out, second.out);
}

/// What is not finite would else be among numbers that are.
TEST(AttentionFewTest, ShowsAValueRoundedTo8BitsThatIsNotFinite) {
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity()}) {
    Pass pass({.type = NumberType::q8, .heads = 1, .segments = {{40, 3}}});
    pass.qkv[(3 * 1 + 2) * 64 + 5] = wrong;
    run_few(pass, 1);
    for (int row = 1; row < 3; ++row) {
      EXPECT_TRUE(std::isnan(pass.out[static_cast<std::size_t>(row * 64)]));
    }
  }
}

}  // namespace
}  // namespace llamlx::cuda
