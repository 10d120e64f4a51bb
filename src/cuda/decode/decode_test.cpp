#include <set>

#include <gtest/gtest.h>

#include "cuda/decode/decode_reference.h"

namespace llamlx::cuda {
namespace {

using testing::DecodeModel;
using testing::DecodeReference;
using testing::DecodeRun;
using testing::DecodeSetting;
using testing::expect_right;

constexpr DecodeFormat kDense{{NumberType::f16, 0, 0}};
constexpr DecodeFormat kShort{{NumberType::bf16, 0, 0}, true};
constexpr DecodeFormat kAffine{{NumberType::bf16, 4, 64}};

std::vector<DecodeFormat> formats() {
  std::vector<DecodeFormat> result{kShort};
  for (const auto& layout : all_layouts()) {
    if (layout.type != NumberType::f32) result.push_back({layout});
  }
  return result;
}

/// Shapes that are no whole tiles, as far as the format has such.
DecodeSetting odd_shapes(const DecodeFormat& format) {
  const auto& layout = format.layout;
  DecodeSetting set{.format = format};
  if (layout.bits == 0) {
    set.hidden = 76;
    set.heads = 3;
    set.kv_heads = 1;
    set.inner = 52;
  } else if (layout.group == 16) {
    set.hidden = 80;
    set.inner = 48;
  } else if (layout.group == 32) {
    set.hidden = 96;
    set.inner = 32;
  } else {
    set.head_dim = 32;
  }
  return set;
}

class DecodeFormatTest : public ::testing::TestWithParam<DecodeFormat> {};

TEST_P(DecodeFormatTest, DecodesAsFloat64Does) {
  expect_right(odd_shapes(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(All, DecodeFormatTest, ::testing::ValuesIn(formats()),
                         [](const auto& test) {
                           return testing::to_string(test.param);
                         });

TEST(Decode, PassesFollowEachOther) {
  for (const auto& format : {kDense, kShort, kAffine}) {
    for (const int layers : {1, 2}) {
      for (const bool has_biases : {false, true}) {
        for (const bool mixes : {false, true}) {
          SCOPED_TRACE(::testing::Message() << layers << " layers");
          expect_right({.format = format,
                        .head_dim = 32,
                        .layers = layers,
                        .has_biases = has_biases},
                       4, mixes);
        }
      }
    }
  }
}

TEST(Decode, AnyWarpMayBeLate) {
  constexpr int kWarps = kDecodeThreads / 32;
  for (int late = 0; late < 3 * kWarps; ++late) {
    SCOPED_TRACE(late);
    // Every block has some of the embedding.
    expect_right({.format = kDense,
                  .hidden = 520,
                  .heads = 2,
                  .head_dim = 8,
                  .inner = 24,
                  .layers = 1 + late % 2,
                  .late_warp = late},
                 2, true);
  }
}

/// Of rows that have nothing else no other numbers' roundings hide them.
TEST(Decode, AddsExceptions) {
  DecodeSetting set{.format = kShort,
                    .hidden = 332,
                    .heads = 3,
                    .kv_heads = 1,
                    .inner = 140,
                    .layers = 2,
                    .has_exceptions = true};
  const DecodeModel model(set);
  const auto& shortened = model.layers[1].products[0].shortened;
  EXPECT_EQ(shortened.header(0).count, kMostExceptions);
  for (const unsigned blocks : {1U, 3U}) {
    set.blocks = blocks;
    expect_right(set, 2);
  }
  for (int late = 0; late < 9; ++late) {
    set.late_warp = late;
    expect_right(set);
  }
}

TEST(Decode, GoesOnWithWhatItChose) {
  const DecodeModel model({.layers = 2});
  DecodeRun run(model);
  run.run(3, true);
  for (int i = 0; i < 3; ++i) {
    const int id = run.token;
    run.go_on();
    expect_pass(model, run, id);
    expect_token(run, DecodeReference(model).logits(run.exchange.residual));
    expect_only_token(run, run.token);
  }
}

TEST(Decode, SplitsManyPositions) {
  for (const auto& format : {kDense, kShort, kAffine}) {
    // Of heads so small a split has up to 256, if there are enough splits.
    for (const int offset : {31, 254, 510, 900}) {
      for (const int window : {0, 64, 290}) {
        SCOPED_TRACE(::testing::Message() << offset << ", " << window);
        expect_right({.format = format,
                      .kv_heads = 1,
                      .head_dim = 32,
                      .layers = 2,
                      .offset = offset,
                      .window = window},
                     3);
      }
    }
  }
}

TEST(Decode, SplitsAnyHeads) {
  for (const auto& format : {kDense, kAffine}) {
    for (const int group : {1, 3, 7, 8, 12, 16}) {
      for (const int dim : {24, 64, 72, 128}) {
        if (format.layout.bits != 0 && group * dim % 64 != 0) continue;
        for (const int window : {0, 300}) {
          SCOPED_TRACE(::testing::Message() << group << " of " << dim);
          expect_right({.format = format,
                        .heads = group,
                        .kv_heads = 1,
                        .head_dim = dim,
                        .blocks = 5,
                        .offset = 400,
                        .window = window,
                        .has_head_norms = group > 6});
        }
      }
    }
  }
}

/// What splits pass on is as new where few positions follow many.
TEST(Decode, UsesSplitsNowAndThen) {
  for (const int layers : {1, 2}) {
    for (const int kv_heads : {1, 2}) {
      SCOPED_TRACE(::testing::Message() << layers << ", " << kv_heads);
      const DecodeModel model({.format = kDense,
                               .kv_heads = kv_heads,
                               .head_dim = 128,
                               .layers = layers,
                               .blocks = 9,
                               .offset = 600});
      DecodeRun run(model);
      for (const int position :
           {600, 3, 4, 5, 300, 126, 127, 128, 129, 0, 601, 254, 256, 1, 602}) {
        SCOPED_TRACE(position);
        run.go_to(position);
        run.run(3, true);
        expect_pass(model, run, 3);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(Decode, BlocksHaveSeveralUnits) {
  for (const int splits : {1, 2, 5}) {
    for (const int late : {-1, 2, 10}) {
      SCOPED_TRACE(::testing::Message() << splits << ", " << late);
      expect_right({.format = kDense,
                    .heads = 10,
                    .kv_heads = 1,
                    .head_dim = 64,
                    .layers = 2,
                    .blocks = 2,
                    .splits = splits,
                    .offset = 700,
                    .late_warp = late},
                   3);
    }
  }
}

TEST(Decode, JoinsWhenAllSplitsHaveCome) {
  constexpr int kWarps = kDecodeThreads / 32;
  for (int late = 0; late < 3 * kWarps; ++late) {
    SCOPED_TRACE(late);
    expect_right({.format = kDense,
                  .kv_heads = 1,
                  .head_dim = 32,
                  .layers = 2,
                  .offset = 255 + late % 2 * 256,
                  .late_warp = late},
                 2);
  }
}

TEST(Decode, AnyHeads) {
  for (const auto& format : {kDense, kShort, kAffine}) {
    for (const int dim : {24, 64, 72, 128}) {
      for (const bool traditional : {false, true}) {
        for (const bool has_norms : {false, true}) {
          SCOPED_TRACE(dim);
          expect_right({.format = format,
                        .heads = 8,
                        .kv_heads = dim > 64 ? 1 : 4,
                        .head_dim = dim,
                        .layers = dim > 64 ? 1 : 2,
                        .window = dim == 72 ? 3 : 0,
                        .traditional = traditional,
                        .has_head_norms = has_norms},
                       2);
        }
      }
    }
  }
  // More queries of a key/value head than are looked for at once.
  expect_right({.format = kDense, .heads = 36, .kv_heads = 1, .head_dim = 8});
}

TEST(Decode, AnyNumberOfBlocks) {
  for (const auto& format : {kDense, kShort, kAffine}) {
    for (const unsigned blocks : {1U, 2U, 3U, 5U, 8U}) {
      SCOPED_TRACE(blocks);
      // Four blocks of 16 rows leave some with none; one has all tokens.
      expect_right({.format = format,
                    .heads = 2,
                    .head_dim = 32,
                    .vocab = 16,
                    .layers = 2,
                    .blocks = blocks},
                   3);
    }
  }
}

TEST(Decode, WeightsFlowThroughAnyRing) {
  for (const auto& format :
       {kDense, kShort, kAffine, DecodeFormat{{NumberType::f16, 3, 32}}}) {
    for (const int pieces : {2, 3, 4}) {
      for (const unsigned blocks : {1U, 3U}) {
        SCOPED_TRACE(::testing::Message() << pieces << ", " << blocks);
        // The head takes several pieces, and most others more than one.
        expect_right({.format = format,
                      .hidden = 448,
                      .head_dim = 32,
                      .inner = 192,
                      .vocab = 180,
                      .blocks = blocks,
                      .pieces = pieces},
                     2, true);
      }
    }
  }
}

TEST(Decode, TakesTokensOfAnyTable) {
  for (const auto& table : all_layouts()) {
    if (!table.has_floats) expect_right({.table = table});
    expect_right({.format = {kNvfp4Layout}, .table = table});
  }
}

TEST(Decode, ChoosesTheFirstOfEqualTokens) {
  DecodeModel model({.vocab = 100});
  auto& head = model.head.parts[0];
  std::ranges::fill(head.scales, 0U);
  std::ranges::fill(head.biases, 0U);
  model.pack(model.head);
  DecodeRun run(model);
  run.run(3, true);
  expect_only_token(run, 0);
  // All blocks' largest are alike, but for one whose token is the last.
  model.head.packed_bias.assign(100, -2);
  model.head.packed_bias[77] = model.head.packed_bias[99] = -1;
  DecodeRun biased(model);
  biased.run(3, true);
  expect_only_token(biased, 77);
}

TEST(Decode, DrawsTokens) {
  for (const auto& format : {kDense, kShort, kAffine}) {
    std::set<int> tokens;
    for (std::uint32_t key = 0; key < 6; ++key) {
      const DecodeSetting set{.format = format,
                              .head_dim = 32,
                              .vocab = 300,
                              .draw = {1.5F, {key, 9}}};
      expect_right(set);
      const DecodeModel model(set);
      DecodeRun run(model);
      run.run(3, true);
      tokens.insert(run.token);
    }
    EXPECT_GT(tokens.size(), 1U);
  }
}

/// The token after one whose embedding has `odd` among its numbers.
void expect_no_token(const DecodeFormat& format, float odd) {
  SCOPED_TRACE(testing::to_string(format));
  DecodeSetting set{.format = format, .layers = 2, .window = 1};
  if (format.layout.group == 64) set.head_dim = 32;
  DecodeModel model(set);
  auto& table = model.table.parts[0];
  put_number(table.data, table.layout.type, 3 * 64 + 50, odd);
  model.pack(model.table);
  DecodeRun run(model);
  run.run(4, true);
  EXPECT_GE(run.token, 0);
  run.run(3, false);
  run.run(3, true);
  expect_only_token(run, -1);
  // Who does not see that position is as before.
  run.run(4, true);
  expect_pass(model, run, 4);
  expect_token(run, DecodeReference(model).logits(run.exchange.residual));
}

TEST(Decode, TellsOfWhatIsNotFinite) {
  for (const auto& format : formats()) expect_no_token(format, NAN);
  for (const float odd : {HUGE_VALF, -HUGE_VALF}) {
    for (const auto& format : {kDense, kShort, kAffine})
      expect_no_token(format, odd);
  }
}

TEST(Decode, TellsOfATokenThatIsNotFinite) {
  for (const int row : {0, 40, 99}) {
    for (const float odd : {NAN, HUGE_VALF, -HUGE_VALF}) {
      DecodeModel model({.vocab = 100, .has_biases = true});
      model.head.packed_bias[static_cast<std::size_t>(row)] = odd;
      DecodeRun run(model);
      run.run(3, true);
      expect_only_token(run, -1);
    }
  }
}

TEST(Decode, TellsOfAttentionThatIsNotFinite) {
  DecodeModel model({.layers = 2, .has_biases = true});
  // Too large for the cache's float16.
  model.layers[0].products[0].packed_bias.back() = 1e6F;
  DecodeRun run(model);
  for (int i = 0; i < 2; ++i) {
    run.run(3, true);
    expect_only_token(run, -1);
  }
}

}  // namespace
}  // namespace llamlx::cuda
