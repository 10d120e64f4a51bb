#include "generate/compare.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"
#include "generate/text_logits.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

/// The next-token distribution [V] after `ids`, in float64.
std::vector<double> distribution(const Decoder& decoder,
                                 const std::vector<std::int32_t>& ids) {
  const int length = static_cast<int>(ids.size());
  const auto cache = decoder.make_cache(length);
  const auto x = decoder.forward(mx::array(ids.begin(), {length}, mx::int32),
                                 {{cache.get(), length}});
  auto logits = mx::contiguous(
      decoder.logits(mx::slice(x, {length - 1, 0}, {length, x.shape(1)})));
  logits.eval();
  std::vector<double> p(logits.data<float>(),
                        logits.data<float>() + logits.size());
  const double sum = std::accumulate(
      p.begin(), p.end(), 0.0,
      [](double total, double logit) { return total + std::exp(logit); });
  for (auto& value : p) value = std::exp(value) / sum;
  return p;
}

class CompareTest : public ::testing::Test {
 protected:
  CompareTest() {
    quantised_.quantize_all({4, 32});
    b_ = Decoder::load(quantised_, mx::float32);
  }

  RandomCheckpoint dense_{RandomCheckpoint::tiny_config()};
  RandomCheckpoint quantised_{RandomCheckpoint::tiny_config()};
  Decoder a_ = Decoder::load(dense_, mx::float32);
  Decoder b_ = a_;
  std::vector<std::int32_t> ids_ = {7, 3, 3, 19, 28, 1, 30, 2};
};

TEST_F(CompareTest, MeasuresTheDistributionsOfEveryBeginning) {
  double sum = 0, largest = 0, nll_a = 0, nll_b = 0;
  int agreed = 0;
  for (std::size_t n = 1; n < ids_.size(); ++n) {
    const std::vector begin(ids_.begin(), ids_.begin() + n);
    const auto p = distribution(a_, begin), q = distribution(b_, begin);
    double kl = 0;
    for (std::size_t i = 0; i < p.size(); ++i) {
      kl += p[i] * std::log(p[i] / q[i]);
    }
    sum += kl;
    largest = std::max(largest, kl);
    nll_a -= std::log(p[ids_[n]]);
    nll_b -= std::log(q[ids_[n]]);
    agreed += std::ranges::max_element(p) - p.begin() ==
              std::ranges::max_element(q) - q.begin();
  }
  const auto result = compare(a_, b_, ids_);
  const auto count = static_cast<double>(ids_.size() - 1);
  EXPECT_GT(sum, 1e-3);
  // float32 logits of the order of 1, in another order of sums.
  EXPECT_NEAR(result.mean_kl, sum / count, 1e-5);
  EXPECT_NEAR(result.max_kl, largest, 1e-5);
  EXPECT_NEAR(result.a.mean_nll, nll_a / count, 1e-5);
  EXPECT_NEAR(result.b.mean_nll, nll_b / count, 1e-5);
  EXPECT_DOUBLE_EQ(result.top1_agreement, agreed / count);
  EXPECT_EQ(result.a.tokens, 7);
}

TEST_F(CompareTest, ScoresAsScoreDoes) {
  std::vector<std::int32_t> ids(150);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = (i * i + 3 * i) % 32;
  const auto result = compare(a_, b_, ids);
  EXPECT_NEAR(result.a.mean_nll, score(a_, ids).mean_nll, 1e-5);
  EXPECT_NEAR(result.b.mean_nll, score(b_, ids).mean_nll, 1e-5);
}

TEST_F(CompareTest, AModelIsNoDistanceFromItself) {
  const auto result = compare(b_, b_, ids_);
  EXPECT_EQ(result.mean_kl, 0);
  EXPECT_EQ(result.max_kl, 0);
  EXPECT_EQ(result.top1_agreement, 1);
}

TEST_F(CompareTest, TakesTheShorterContext) {
  quantised_.change_config({{"max_position_embeddings", 4}});
  b_ = Decoder::load(quantised_, mx::float32);
  EXPECT_NEAR(compare(a_, b_, ids_).b.mean_nll, score(b_, ids_).mean_nll, 1e-6);
}

TEST_F(CompareTest, RefusesOtherVocabularies) {
  auto config = RandomCheckpoint::tiny_config();
  config["vocab_size"] = 33;
  const RandomCheckpoint larger(config);
  const auto c = Decoder::load(larger, mx::float32);
  testing::error_of(ErrorCode::mismatch, [&] { compare(a_, c, ids_); });
  EXPECT_THROW(compare(a_, b_, std::span(ids_).first(1)),
               std::invalid_argument);
}

TEST(CutTextTest, PredictsEveryTokenButTheFirstOnce) {
  for (std::size_t tokens = 2; tokens < 30; ++tokens) {
    for (const std::size_t context : {1, 3, 4, 100}) {
      for (const std::size_t rows : {1, 2, 5}) {
        std::size_t next = 0, left = 0;
        for (const auto& chunk : cut_text(tokens, context, rows)) {
          ASSERT_EQ(chunk.begin, next);
          ASSERT_LE(chunk.length, rows);
          ASSERT_EQ(chunk.window > 0, left == 0);
          if (left == 0) left = chunk.window;
          ASSERT_LE(left, context);
          left -= chunk.length;
          next += chunk.length;
        }
        ASSERT_EQ(next, tokens - 1);
        ASSERT_EQ(left, 0);
      }
    }
  }
}

}  // namespace
}  // namespace llamlx
