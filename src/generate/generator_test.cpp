#include "generate/generator.h"

#include <functional>
#include <limits>
#include <numeric>
#include <optional>
#include <set>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"
#include "generate/compare.h"
#include "generate/score.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;

/// A vocabulary of pieces of text, one an id.
class PieceTokenizer final : public Tokenizer {
 public:
  explicit PieceTokenizer(std::vector<std::string> pieces)
      : pieces_(std::move(pieces)) {}

  std::vector<std::int32_t> encode(std::string_view, bool) const override {
    return {};
  }
  std::unique_ptr<DecodeStream> decode_stream() const override {
    return std::make_unique<Stream>(pieces_);
  }
  int vocab_size() const override { return static_cast<int>(pieces_.size()); }
  std::optional<std::int32_t> bos_id() const override { return {}; }
  std::optional<std::int32_t> eos_id() const override { return {}; }
  bool is_special(std::int32_t) const override { return false; }

 private:
  class Stream final : public DecodeStream {
   public:
    explicit Stream(const std::vector<std::string>& pieces) : pieces_(pieces) {}
    std::string add(std::int32_t id) override { return pieces_.at(id); }
    std::string finish() override { return {}; }

   private:
    const std::vector<std::string>& pieces_;
  };

  std::vector<std::string> pieces_;
};

class GenerateTest : public ::testing::Test {
 protected:
  Result run(const std::vector<std::int32_t>& ids,
             const GenerateOptions& options,
             const StreamFn& on_delta = {}) const {
    return generate({decoder_, nullptr, eos_ids_}, ids, options, on_delta);
  }

  RandomCheckpoint checkpoint_{RandomCheckpoint::tiny_config()};
  Decoder decoder_ = Decoder::load(checkpoint_, mx::float32);
  std::vector<std::int32_t> eos_ids_;
};

TEST_F(GenerateTest, TakesTheLikeliestTokenOfTheWholeTextEachTime) {
  const auto result = run({1, 2, 3}, {.max_tokens = 6});
  std::vector<std::int32_t> ids = {1, 2, 3};
  for (const auto token : result.tokens) {
    const auto cache = decoder_.make_cache(16);
    const auto logits = decoder_.logits(prefill(decoder_, *cache, ids));
    EXPECT_EQ(token, static_cast<std::int32_t>(
                         mx::argmax(logits, -1).item<std::uint32_t>()));
    ids.push_back(token);
  }
  EXPECT_EQ(result.tokens.size(), 6);
  EXPECT_EQ(result.finish_reason, FinishReason::length);
}

TEST_F(GenerateTest, StopsAtEndOfSequenceAndLeavesItOut) {
  const auto free = run({1, 2, 3}, {.max_tokens = 6});
  eos_ids_ = {free.tokens[3]};
  const auto cut =
      std::find(free.tokens.begin(), free.tokens.end(), free.tokens[3]);
  const auto stopped = run({1, 2, 3}, {.max_tokens = 6});
  EXPECT_EQ(stopped.finish_reason, FinishReason::stop);
  EXPECT_EQ(stopped.tokens, std::vector(free.tokens.begin(), cut));
  const auto ignored = run({1, 2, 3}, {.max_tokens = 6, .ignore_eos = true});
  EXPECT_EQ(ignored.tokens, free.tokens);
  EXPECT_EQ(ignored.finish_reason, FinishReason::length);
}

TEST_F(GenerateTest, StreamsEveryTokenAndCanBeCancelled) {
  std::vector<std::int32_t> streamed;
  const auto result = run({4, 5}, {.max_tokens = 6}, [&](const Delta& delta) {
    if (delta.token) streamed.push_back(*delta.token);
    return streamed.size() < 3;
  });
  EXPECT_EQ(result.finish_reason, FinishReason::cancelled);
  EXPECT_EQ(result.tokens.size(), 3);
  EXPECT_EQ(streamed, result.tokens);
}

TEST_F(GenerateTest, GoesOnAsBeforeAfterACallbackThatThrew) {
  decoder_ = Decoder::load(checkpoint_, mx::float32, cpu_backend(mx::float32));
  const auto whole = run({4, 5}, {.max_tokens = 6});
  const StreamFn complains = [](const Delta&) -> bool {
    throw std::runtime_error("no more paper");
  };
  EXPECT_THROW(run({4, 5}, {.max_tokens = 6}, complains), std::runtime_error);
  EXPECT_EQ(run({4, 5}, {.max_tokens = 6}).tokens, whole.tokens);
}

TEST_F(GenerateTest, StopsWhereTheContextEnds) {
  checkpoint_.change_config({{"max_position_embeddings", 5}});
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  const auto result = run({1, 2, 3}, {.max_tokens = 100});
  EXPECT_EQ(result.tokens.size(), 3);
  EXPECT_EQ(result.finish_reason, FinishReason::length);
  testing::error_of(ErrorCode::context_overflow, [&] {
    run({1, 2, 3, 4, 5, 6}, {.max_tokens = 1});
  });
}

TEST_F(GenerateTest, EndsTheTextBeforeAStopString) {
  const auto free = run({1, 2, 3}, {.max_tokens = 6});
  std::vector<std::string> pieces(32, "?");
  // The third token ends what the second began, and goes on.
  pieces[free.tokens[0]] = "yes [";
  pieces[free.tokens[1]] = "EN";
  pieces[free.tokens[2]] = "D] no";
  ASSERT_EQ(std::set(free.tokens.begin(), free.tokens.begin() + 3).size(), 3);
  const PieceTokenizer tokenizer(pieces);
  std::string streamed;
  std::size_t deltas = 0;
  const auto result = generate({decoder_, &tokenizer, {}}, std::vector{1, 2, 3},
                               {.max_tokens = 6, .stop = {"never", "[END]"}},
                               [&](const Delta& delta) {
                                 streamed += delta.text;
                                 if (delta.token) ++deltas;
                                 return true;
                               });
  EXPECT_EQ(result.text, "yes ");
  EXPECT_EQ(streamed, "yes ");
  EXPECT_EQ(result.stop_text, "[END]");
  EXPECT_EQ(result.finish_reason, FinishReason::stop);
  EXPECT_EQ(result.tokens,
            std::vector(free.tokens.begin(), free.tokens.begin() + 3));
  EXPECT_EQ(deltas, 3);
}

TEST_F(GenerateTest, HandsOutWhatDidNotBecomeAStopString) {
  const auto free = run({1, 2, 3}, {.max_tokens = 1});
  std::vector<std::string> pieces(32, "?");
  pieces[free.tokens[0]] = "yes [EN";
  const PieceTokenizer tokenizer(pieces);
  const auto result = generate({decoder_, &tokenizer, {}}, std::vector{1, 2, 3},
                               {.max_tokens = 1, .stop = {"[END]"}}, {});
  EXPECT_EQ(result.text, "yes [EN");
  EXPECT_EQ(result.stop_text, "");
  EXPECT_EQ(result.finish_reason, FinishReason::length);
}

TEST_F(GenerateTest, StopStringsNeedATokenizer) {
  testing::error_of(ErrorCode::not_found, [&] { run({1}, {.stop = {"x"}}); });
}

TEST_F(GenerateTest, NamesTheParameterThatIsNotFinite) {
  const auto values = [](const mx::Shape& shape, float value) {
    return mx::full(shape, value, mx::float32);
  };
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const float infinity = std::numeric_limits<float>::infinity();
  checkpoint_.put("model.norm.weight", values({32}, infinity));
  checkpoint_.put("model.layers.1.mlp.up_proj.weight", values({64, 32}, nan));
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  const std::vector<std::int32_t> ids = {1, 2, 3};
  for (const auto& action : std::vector<std::function<void()>>{
           [&] { run(ids, {.max_tokens = 3}); },
           [&] { run(ids, {.max_tokens = 3, .sampling = {.temperature = 1}}); },
           [&] { score(decoder_, ids); },
           [&] { compare(decoder_, decoder_, ids); }}) {
    const auto message = testing::error_of(ErrorCode::not_finite, action);
    EXPECT_THAT(message, HasSubstr("model.layers.1.mlp.up_proj.weight"));
  }
}

TEST_F(GenerateTest, NamesAQuantisedParameterByItsScales) {
  checkpoint_.quantize_all({4, 32});
  const auto name = "model.layers.0.self_attn.k_proj.weight";
  auto weight = checkpoint_.load(*checkpoint_.find(name));
  weight.scales = mx::divide(*weight.scales, mx::array(0.f));
  checkpoint_.put(name, weight);
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  const auto message =
      testing::error_of(ErrorCode::not_finite, [&] { run({1}, {}); });
  EXPECT_THAT(message, HasSubstr(name));
}

TEST_F(GenerateTest, TellsOfLogitsThatOverflowFromFiniteWeights) {
  checkpoint_.put("lm_head.weight", mx::full({32, 32}, 1e38f, mx::float32));
  checkpoint_.put("model.norm.weight", mx::full({32}, 1e38f, mx::float32));
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  const auto message =
      testing::error_of(ErrorCode::not_finite, [&] { run({1}, {}); });
  EXPECT_THAT(message, HasSubstr("weights that are finite"));
}

TEST_F(GenerateTest, LogitsWhoseSumOverflowsAreFine) {
  // 32 logits of the order of 1e38: each is finite.
  const auto scale = mx::array(1e38f);
  const auto head = checkpoint_.find("lm_head.weight");
  const auto norms = mx::multiply(checkpoint_.load(*head).data, scale);
  checkpoint_.put("lm_head.weight", mx::divide(mx::abs(norms), mx::array(8.f)));
  const auto result = [&] {
    decoder_ = Decoder::load(checkpoint_, mx::float32);
    return run({1}, {.max_tokens = 1});
  };
  EXPECT_EQ(result().tokens.size(), 1);
}

TEST_F(GenerateTest, RefusesArgumentsThatMakeNoSense) {
  EXPECT_THROW(run({}, {}), std::invalid_argument);
  EXPECT_THROW(run({32}, {}), std::invalid_argument);
  EXPECT_THROW(run({-1}, {}), std::invalid_argument);
  EXPECT_THROW(run({1}, {.max_tokens = -1}), std::invalid_argument);
  EXPECT_TRUE(run({1}, {.max_tokens = 0}).tokens.empty());
}

TEST_F(GenerateTest, LongPromptsGoThroughInChunks) {
  std::vector<std::int32_t> ids(1100);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = (i * i + 3 * i) % 32;
  const auto cache = decoder_.make_cache(1100);
  const auto chunked = prefill(decoder_, *cache, ids);
  EXPECT_EQ(cache->offset(), 1100);
  const auto whole_cache = decoder_.make_cache(1100);
  const auto whole = decoder_.forward(mx::array(ids.begin(), {1100}, mx::int32),
                                      {{whole_cache.get(), 1100}});
  const auto last = mx::slice(whole, {1099, 0}, {1100, whole.shape(1)});
  // Sums of at most 1100 terms of size 1 in another order.
  EXPECT_TRUE(mx::allclose(chunked, last, 1e-4, 1e-4).item<bool>());
}

TEST(GenerateByKernelsTest, AnyNumberOfThreadsGivesTheSameTokens) {
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  checkpoint.quantize_all({.bits = 4, .group_size = 32});
  const std::vector<std::int32_t> ids = {1, 7, 3, 9, 2, 30, 11};
  const auto tokens = [&](int threads) {
    const auto decoder = Decoder::load(checkpoint, mx::bfloat16,
                                       cpu_backend(mx::bfloat16, threads));
    return generate({decoder, nullptr, {}}, ids, {.max_tokens = 12}, {}).tokens;
  };
  const auto expected = tokens(1);
  EXPECT_EQ(expected.size(), 12u);
  EXPECT_EQ(tokens(2), expected);
  EXPECT_EQ(tokens(3), expected);
}

TEST_F(GenerateTest, ChunksTurnDynamicPositionsAsTheWholePromptDoes) {
  checkpoint_.change_config(
      {{"max_position_embeddings", 300},
       {"rope_scaling", {{"type", "dynamic"}, {"factor", 4}}}});
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  std::vector<std::int32_t> ids(600);
  for (std::size_t i = 0; i < ids.size(); ++i) ids[i] = (i * i + 3 * i) % 32;
  const auto cache = decoder_.make_cache(600);
  const auto chunked = prefill(decoder_, *cache, ids);
  const auto whole_cache = decoder_.make_cache(600);
  const auto whole = decoder_.forward(mx::array(ids.begin(), {600}, mx::int32),
                                      {{whole_cache.get(), 600}});
  const auto last = mx::slice(whole, {599, 0}, {600, whole.shape(1)});
  EXPECT_TRUE(mx::allclose(chunked, last, 1e-4, 1e-4).item<bool>());
  // Longer than what the config says, as far as the factor reaches.
  EXPECT_EQ(run(ids, {.max_tokens = 2}).tokens.size(), 2);
}

TEST_F(GenerateTest, ScoreIsTheMeanOfTheNegativeLogLikelihoods) {
  const std::vector<std::int32_t> ids = {7, 3, 3, 19, 28};
  double sum = 0;
  for (std::size_t n = 1; n < ids.size(); ++n) {
    const auto cache = decoder_.make_cache(8);
    const auto logits =
        decoder_.logits(prefill(decoder_, *cache, std::span(ids).first(n)));
    auto nll = mx::subtract(mx::logsumexp(logits, -1),
                            mx::take(logits, mx::array(ids[n]), 1));
    sum += nll.item<float>();
  }
  const auto result = score(decoder_, ids);
  EXPECT_EQ(result.tokens, 4);
  EXPECT_NEAR(result.mean_nll, sum / 4, 1e-5);
  EXPECT_NEAR(result.perplexity, std::exp(sum / 4), 1e-4 * result.perplexity);
  EXPECT_THROW(score(decoder_, std::span(ids).first(1)), std::invalid_argument);
}

TEST_F(GenerateTest, ScoreCutsLongTextsIntoWindows) {
  std::vector<std::int32_t> ids(11);
  std::iota(ids.begin(), ids.end(), 1);
  checkpoint_.change_config({{"max_position_embeddings", 4}});
  decoder_ = Decoder::load(checkpoint_, mx::float32);
  const std::span<const std::int32_t> all = ids;
  const auto a = score(decoder_, all.subspan(0, 5));
  const auto b = score(decoder_, all.subspan(4, 5));
  const auto c = score(decoder_, all.subspan(8, 3));
  const auto whole = score(decoder_, ids);
  EXPECT_EQ(whole.tokens, 10);
  EXPECT_NEAR(whole.mean_nll,
              (4 * a.mean_nll + 4 * b.mean_nll + 2 * c.mean_nll) / 10, 1e-6);
}

// Knows two tokens that end an answer, and no text.
class TwoEnds : public Tokenizer {
 public:
  std::vector<std::int32_t> encode(std::string_view, bool) const override {
    return {};
  }
  std::unique_ptr<DecodeStream> decode_stream() const override { return {}; }
  int vocab_size() const override { return 9; }
  std::optional<std::int32_t> bos_id() const override { return {}; }
  std::optional<std::int32_t> eos_id() const override { return 3; }
  std::vector<std::int32_t> eos_ids() const override { return {3, 5}; }
  bool is_special(std::int32_t) const override { return false; }
};

TEST(EosTokenIdsTest, AreTheTokenizersWhereTheConfigNamesNone) {
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  const TwoEnds tokenizer;
  EXPECT_EQ(eos_token_ids(checkpoint, &tokenizer),
            (std::vector<std::int32_t>{3, 5}));
  checkpoint.change_config({{"eos_token_id", 7}});
  EXPECT_EQ(eos_token_ids(checkpoint, &tokenizer),
            (std::vector<std::int32_t>{7}));
}

TEST(EosTokenIdsTest, ReadsNumbersAndLists) {
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  EXPECT_TRUE(eos_token_ids(checkpoint, nullptr).empty());
  checkpoint.change_config({{"eos_token_id", 7}});
  EXPECT_EQ(eos_token_ids(checkpoint, nullptr), (std::vector<std::int32_t>{7}));
  checkpoint.change_config({{"eos_token_id", {7, 9}}});
  EXPECT_EQ(eos_token_ids(checkpoint, nullptr),
            (std::vector<std::int32_t>{7, 9}));
  checkpoint.change_config({{"eos_token_id", "7"}});
  testing::error_of(ErrorCode::corrupt_file,
                    [&] { eos_token_ids(checkpoint, nullptr); });
}

}  // namespace
}  // namespace llamlx
