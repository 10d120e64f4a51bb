#include "models/decoder.h"

#include <algorithm>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/testing.h"
#include "cuda/modules.h"
#include "kernels/held_weight.h"
#include "models/backend_choice.h"
#include "models/decoder_testing.h"

namespace llamlx {
namespace {

using testing::By;
using testing::logits_at_once;
using testing::tiny_config;
using testing::to_array;
using testing::Variant;

const std::vector<std::int32_t> kIds = {3, 17, 9, 30, 1, 1, 22, 5};

void expect_close(const mx::array& a, const mx::array& b, float tolerance) {
  ASSERT_EQ(a.shape(), b.shape());
  EXPECT_LE(mx::max(mx::abs(mx::subtract(a, b))).item<float>(), tolerance);
}

// Both sides sum the same float32 products in another order: a few units in
// the last place of logits of size about 10, through two layers.
constexpr float kTolerance = 1e-4f;

/// A model of every variant, computed by MLX's ops and by our kernels.
class DecoderTest : public ::testing::TestWithParam<std::tuple<Variant, By>> {
 protected:
  void SetUp() override { testing::skip_unless_here(std::get<1>(GetParam())); }

  static Decoder load() {
    const auto& [variant, by] = GetParam();
    const RandomCheckpoint checkpoint(tiny_config(variant.changes));
    return Decoder::load(checkpoint, mx::float32,
                         testing::backend_of(by, mx::float32));
  }
};

TEST_P(DecoderTest, PrefillEqualsTokenByToken) {
  const auto decoder = load();
  const auto cache = decoder.make_cache(1);
  std::vector<mx::array> rows;
  for (const auto id : kIds) {
    const auto x = decoder.forward(mx::array({id}), {{cache.get(), 1}});
    rows.push_back(decoder.logits(x));
  }
  expect_close(mx::concatenate(rows, 0), logits_at_once(decoder, kIds),
               kTolerance);
}

TEST_P(DecoderTest, SequencesAtDifferentPositionsShareAStep) {
  const auto decoder = load();
  const std::span<const std::int32_t> ids = kIds;
  const auto a = decoder.make_cache(8);
  const auto b = decoder.make_cache(8);
  decoder.forward(to_array(ids.first(3)), {{a.get(), 3}});
  // Three more tokens of a, then two of a new sequence, in one step.
  const std::vector<std::int32_t> mixed = {ids[3], ids[4], ids[5], 7, 8};
  const auto x = decoder.forward(to_array(mixed), {{a.get(), 3}, {b.get(), 2}});
  EXPECT_EQ(a->offset(), 6);
  EXPECT_EQ(b->offset(), 2);

  const auto logits = decoder.logits(x);
  const int vocab = logits.shape(1);
  const auto whole_a = logits_at_once(decoder, ids.first(6));
  expect_close(mx::slice(logits, {0, 0}, {3, vocab}),
               mx::slice(whole_a, {3, 0}, {6, vocab}), kTolerance);
  expect_close(mx::slice(logits, {3, 0}, {5, vocab}),
               logits_at_once(decoder, std::vector<std::int32_t>{7, 8}),
               kTolerance);
}

TEST_P(DecoderTest, LastRowsComeAlone) {
  const auto decoder = load();
  const std::span<const std::int32_t> ids = kIds;
  // Of a new sequence's five tokens, and of one and two that go on.
  const auto run = [&](bool only_last) {
    const auto a = decoder.make_cache(8), b = decoder.make_cache(8),
               c = decoder.make_cache(8);
    decoder.forward(to_array(ids.first(2)), {{b.get(), 1}, {c.get(), 1}});
    const Rows rows = {{a.get(), 5}, {b.get(), 1}, {c.get(), 2}};
    const auto x = only_last ? decoder.forward_last(to_array(ids), rows)
                             : decoder.forward(to_array(ids), rows);
    mx::eval(x);
    EXPECT_EQ(a->offset(), 5);
    EXPECT_EQ(c->offset(), 3);
    return x;
  };
  EXPECT_TRUE(
      mx::array_equal(run(true), mx::take(run(false), mx::array({4, 5, 7}), 0))
          .item<bool>());
}

TEST_P(DecoderTest, ATokenThatIsNoneReadsTheLastRowOfTheTable) {
  const auto decoder = load();
  const std::vector<std::int32_t> none = {3, -1};
  const std::vector<std::int32_t> last = {3, decoder.config().vocab_size - 1};
  EXPECT_TRUE(mx::array_equal(logits_at_once(decoder, none),
                              logits_at_once(decoder, last))
                  .item<bool>());
}

std::string name_of_model(
    const ::testing::TestParamInfo<std::tuple<Variant, By>>& test) {
  const auto& [variant, by] = test.param;
  return std::string(variant.name) + testing::to_string(by);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, DecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kVariants),
                       ::testing::ValuesIn(testing::kEveryone)),
    name_of_model);

INSTANTIATE_TEST_SUITE_P(
    Experts, DecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kExpertVariants),
                       ::testing::ValuesIn(testing::kEveryone)),
    name_of_model);

TEST(CpuBackendTest, APassThatNobodyWantsEndsWithoutAResult) {
  const RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  const auto decoder =
      Decoder::load(checkpoint, mx::float32, cpu_backend(mx::float32));
  const auto cache = decoder.make_cache(8);
  const auto x = decoder.forward(to_array(kIds), {{cache.get(), 8}});
  const auto logits = decoder.logits(x);
  cache->abandon();
  EXPECT_TRUE(mx::all(mx::isnan(logits)).item<bool>());
  cache->rewind(0);
  const auto again = decoder.forward(to_array(kIds), {{cache.get(), 8}});
  EXPECT_TRUE(
      mx::array_equal(decoder.logits(again), logits_at_once(decoder, kIds))
          .item<bool>());
}

TEST(CpuBackendTest, ShorterCopiesOfWeightsGiveTheSameBits) {
  RandomCheckpoint checkpoint(tiny_config(
      {{"hidden_size", 256}, {"intermediate_size", 320}, {"head_dim", 64}}));
  checkpoint.store_as(mx::bfloat16);
  const auto decoder =
      Decoder::load(checkpoint, mx::bfloat16, cpu_backend(mx::bfloat16));
  const auto first = logits_at_once(decoder, kIds);
  mx::eval(first);
  // While they are made, a layer after a pass.
  for (int i = 0; i < 4; ++i) {
    EXPECT_TRUE(
        mx::array_equal(logits_at_once(decoder, kIds), first).item<bool>())
        << "pass " << i;
  }
  decoder.warm_up();
  EXPECT_TRUE(
      mx::array_equal(logits_at_once(decoder, kIds), first).item<bool>());
  const bool reads_them = decoder.kernels() != "scalar";
  const auto spared = static_cast<double>(decoder.spared_bytes(8)) /
                      static_cast<double>(decoder.weights().nbytes);
  EXPECT_NEAR(spared, reads_them ? 0.24 : 0, 0.02);
  EXPECT_EQ(decoder.spared_bytes(9), 0u);
}

class DynamicPositionsTest : public ::testing::Test {
 protected:
  static Json config() {
    auto config = RandomCheckpoint::tiny_config();
    config.update({{"max_position_embeddings", 4},
                   {"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}});
    return config;
  }

  const Decoder decoder_ =
      Decoder::load(RandomCheckpoint(config()), mx::float32);
};

TEST_F(DynamicPositionsTest, ExpectedRowsTurnAlikeInPartsAndAtOnce) {
  const std::span<const std::int32_t> ids = kIds;
  const auto in_parts = [&](int expected) {
    const auto cache = decoder_.make_cache(8);
    cache->expect(expected);
    const auto first =
        decoder_.forward(to_array(ids.first(5)), {{cache.get(), 5}});
    const auto second =
        decoder_.forward(to_array(ids.subspan(5)), {{cache.get(), 3}});
    return decoder_.logits(mx::concatenate({first, second}, 0));
  };
  const auto at_once = logits_at_once(decoder_, kIds);
  expect_close(in_parts(8), at_once, kTolerance);
  auto off = mx::max(mx::abs(mx::subtract(in_parts(0), at_once)));
  EXPECT_GT(off.item<float>(), 10 * kTolerance);
}

TEST_F(DynamicPositionsTest, SequencesOfAnyLengthShareAStep) {
  const std::span<const std::int32_t> ids = kIds;
  const auto a = decoder_.make_cache(8);
  const auto b = decoder_.make_cache(8);
  const std::vector<std::int32_t> mixed = {3, 17, 9, 30, 1, 1, 22, 5, 3, 17};
  const auto logits = decoder_.logits(
      decoder_.forward(to_array(mixed), {{a.get(), 8}, {b.get(), 2}}));
  const int vocab = logits.shape(1);
  expect_close(mx::slice(logits, {0, 0}, {8, vocab}),
               logits_at_once(decoder_, ids), kTolerance);
  expect_close(mx::slice(logits, {8, 0}, {10, vocab}),
               logits_at_once(decoder_, ids.first(2)), kTolerance);
}

class DecoderOfQuantizedWeightsTest
    : public ::testing::TestWithParam<Quantization> {};

TEST_P(DecoderOfQuantizedWeightsTest, EqualsDecoderOfTheirValues) {
  RandomCheckpoint packed(RandomCheckpoint::tiny_config());
  packed.quantize_all(GetParam());
  RandomCheckpoint dense(RandomCheckpoint::tiny_config());
  for (const auto& info : packed.weights()) {
    dense.put(info.name, dequantize(packed.load(info), mx::float32));
  }
  const auto expected = logits_at_once(Decoder::load(dense, mx::float32), kIds);
  for (const auto& backend : {mlx_backend(), cpu_backend(mx::float32)}) {
    const auto decoder = Decoder::load(packed, mx::float32, backend);
    expect_close(logits_at_once(decoder, kIds), expected, kTolerance);
  }
}

INSTANTIATE_TEST_SUITE_P(
    Modes, DecoderOfQuantizedWeightsTest,
    ::testing::Values(Quantization{4, 32},
                      default_quantization(QuantizationMode::mxfp4),
                      default_quantization(QuantizationMode::mxfp8),
                      default_quantization(QuantizationMode::nvfp4)),
    [](const auto& test) { return to_string(test.param.mode); });

TEST(DecoderTest, TiedEmbeddingsAreHeldOnce) {
  auto config = RandomCheckpoint::tiny_config();
  const auto untied =
      Decoder::load(RandomCheckpoint(config), mx::float32).weights().nbytes;
  config["tie_word_embeddings"] = true;
  const auto tied =
      Decoder::load(RandomCheckpoint(config), mx::float32).weights().nbytes;
  EXPECT_EQ(untied - tied, 32 * 32 * sizeof(float));
}

TEST(DecoderTest, GradientsFlowThroughTheStepsAndTheCache) {
  const RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  const auto config = read_model_config(checkpoint);
  const auto weights = load_decoder_weights(
      checkpoint, config, [](const Weight&, const ValueFormat& format) {
        return held_by_ops(format, mx::float32);
      });
  const auto loss = [&](const mx::array& k_proj) {
    auto changed = weights;
    changed.layers[0].qkv.k_proj.weight.data = k_proj;
    const Decoder decoder(config, changed, mlx_backend());
    return mx::mean(mx::logsumexp(logits_at_once(decoder, kIds), -1));
  };
  const auto& k_proj = weights.layers[0].qkv.k_proj.weight.data;
  const auto gradient = mx::grad(loss)(k_proj);
  // Against the difference along the gradient's own direction.
  const float h = 1e-2f;
  const auto norm = mx::sqrt(mx::sum(mx::square(gradient)));
  const auto step = mx::multiply(mx::divide(gradient, norm), mx::array(h));
  const float rise = mx::subtract(loss(mx::add(k_proj, step)),
                                  loss(mx::subtract(k_proj, step)))
                         .item<float>() /
                     (2 * h);
  EXPECT_NEAR(rise / norm.item<float>(), 1, 0.05);
}

}  // namespace
}  // namespace llamlx
