#include "generate/token_loop.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/backend/cpu/encoder.h>
#include <mlx/ops.h>
#include <mlx/primitives.h>
#include <mlx/utils.h>

#include "base/concat.h"
#include "base/testing.h"
#include "generate/generator.h"
#include "models/backend_choice.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

using Ids = std::vector<std::int32_t>;

/// A small model, computed by MLX's ops or by our kernels.
class TokenLoopTest
    : public ::testing::TestWithParam<std::tuple<testing::By, const char*>> {
 protected:
  TokenLoopTest() {
    // float32 weights go to kernels of their own.
    if (has_experts()) checkpoint_.store_as(mx::bfloat16);
  }
  void SetUp() override { testing::skip_unless_here(std::get<0>(GetParam())); }

  static bool has_experts() {
    return std::string(std::get<1>(GetParam())) == "mixtral";
  }
  static Json config() {
    auto config = RandomCheckpoint::tiny_config();
    config.update(Json{{"model_type", std::get<1>(GetParam())},
                       {"num_local_experts", 5}});
    return config;
  }
  static Backend backend() {
    return testing::backend_of(std::get<0>(GetParam()), mx::float32);
  }

  Decoder load() const {
    return Decoder::load(checkpoint_, mx::float32, backend());
  }

  /// The likeliest tokens after `ids`, each by a new pass over all before it.
  static Ids likeliest_after(const Decoder& decoder, Ids ids, int count) {
    const auto before = static_cast<std::ptrdiff_t>(ids.size());
    for (int i = 0; i < count; ++i) {
      const auto cache = decoder.make_cache(16);
      const auto logits = decoder.logits(prefill(decoder, *cache, ids));
      ids.push_back(static_cast<std::int32_t>(
          mx::argmax(logits, -1).item<std::uint32_t>()));
    }
    return {ids.begin() + before, ids.end()};
  }

  RandomCheckpoint checkpoint_{config()};
  Sampler sample_{{}};
};

TEST_P(TokenLoopTest, GivesWhatFollowsEverySequence) {
  const auto decoder = load();
  const Ids a = {1, 2, 3}, b = {9, 8};
  const auto cache_a = decoder.make_cache(16), cache_b = decoder.make_cache(16);
  const auto x = mx::concatenate(
      {prefill(decoder, *cache_a, a), prefill(decoder, *cache_b, b)}, 0);
  TokenLoop loop(decoder, sample_, {{cache_a.get(), 1}, {cache_b.get(), 1}}, x);
  Ids after_a, after_b;
  for (int i = 1; i <= 6; ++i) {
    const auto tokens = loop.next(i < 6);
    after_a.push_back(tokens.at(0));
    after_b.push_back(tokens.at(1));
  }
  EXPECT_EQ(after_a, likeliest_after(decoder, a, 6));
  EXPECT_EQ(after_b, likeliest_after(decoder, b, 6));
  EXPECT_THROW(loop.next(false), std::invalid_argument);
}

/// More than 8, which kernels for GPUs take in other ways, in passes of which
/// later ones are launched as the first was put in.
TEST_P(TokenLoopTest, GivesEachOfManySequencesWhatItGivesOne) {
  constexpr int kTokens = 4;
  const auto decoder = load();
  std::vector<std::unique_ptr<KVCache>> caches;
  Rows rows;
  std::vector<mx::array> last;
  std::vector<Ids> alone;
  for (int i = 0; i < 11; ++i) {
    const Ids prompt = {i, 2 * i + 1};
    const auto cache = decoder.make_cache(16);
    TokenLoop loop(decoder, sample_, {{cache.get(), 1}},
                   prefill(decoder, *cache, prompt));
    auto& tokens = alone.emplace_back();
    for (int j = 1; j <= kTokens; ++j) {
      tokens.push_back(loop.next(j < kTokens).front());
    }
    caches.push_back(decoder.make_cache(16));
    rows.push_back({caches.back().get(), 1});
    last.push_back(prefill(decoder, *caches.back(), prompt));
  }
  TokenLoop loop(decoder, sample_, rows, mx::concatenate(last, 0));
  for (int j = 0; j < kTokens; ++j) {
    const auto tokens = loop.next(j + 1 < kTokens);
    for (std::size_t i = 0; i < alone.size(); ++i) {
      EXPECT_EQ(tokens.at(i), alone[i][static_cast<std::size_t>(j)]) << i;
    }
  }
}

TEST_P(TokenLoopTest, EveryThreadMayHaveItsOwn) {
  const auto decoder = load();
  const auto three_tokens = [&] {
    const auto cache = decoder.make_cache(16);
    Sampler sample{{}};
    TokenLoop loop(decoder, sample, {{cache.get(), 1}},
                   prefill(decoder, *cache, Ids{1, 2, 3}));
    Ids tokens;
    for (int i = 1; i <= 3; ++i) tokens.push_back(loop.next(i < 3).front());
    return tokens;
  };
  const auto here = three_tokens();
  Ids elsewhere;
  std::thread([&] { elsewhere = three_tokens(); }).join();
  EXPECT_EQ(elsewhere, here);
}

TEST_P(TokenLoopTest, LoopsOfOneModelTakeTurns) {
  const auto decoder = load();
  const Ids a = {1, 2, 3}, b = {9, 8};
  const auto cache_a = decoder.make_cache(16), cache_b = decoder.make_cache(16);
  TokenLoop loop_a(decoder, sample_, {{cache_a.get(), 1}},
                   prefill(decoder, *cache_a, a));
  TokenLoop loop_b(decoder, sample_, {{cache_b.get(), 1}},
                   prefill(decoder, *cache_b, b));
  Ids after_a, after_b;
  for (int i = 1; i <= 4; ++i) {
    after_a.push_back(loop_a.next(i < 4).front());
    after_b.push_back(loop_b.next(i < 4).front());
  }
  EXPECT_EQ(after_a, likeliest_after(decoder, a, 4));
  EXPECT_EQ(after_b, likeliest_after(decoder, b, 4));
}

TEST_P(TokenLoopTest, LongerPromptsFollow) {
  const auto decoder = load();
  Ids prompt = {1, 2};
  for (int turn = 0; turn < 3; ++turn) {
    const auto cache = decoder.make_cache(32);
    TokenLoop loop(decoder, sample_, {{cache.get(), 1}},
                   prefill(decoder, *cache, prompt));
    Ids tokens;
    for (int i = 1; i <= 4; ++i) tokens.push_back(loop.next(i < 4).front());
    EXPECT_EQ(tokens, likeliest_after(decoder, prompt, 4)) << turn;
    for (int i = 0; i < 5; ++i) prompt.push_back(3 + i);
  }
}

TEST_P(TokenLoopTest, DrawsAsTheSeedDecides) {
  const auto decoder = load();
  const auto drawn = [&](float temperature, std::uint64_t seed) {
    const auto a = decoder.make_cache(16), b = decoder.make_cache(16);
    const auto x = mx::concatenate({prefill(decoder, *a, Ids{1, 2, 3}),
                                    prefill(decoder, *b, Ids{1, 2, 3})},
                                   0);
    Sampler sample({.temperature = temperature, .seed = seed});
    TokenLoop loop(decoder, sample, {{a.get(), 1}, {b.get(), 1}}, x);
    std::vector<Ids> tokens;
    for (int i = 1; i <= 10; ++i) tokens.push_back(loop.next(i < 10));
    return tokens;
  };
  // So hot that all tokens are alike: two sequences, and two seeds, differ.
  const auto hot = drawn(1e9F, 1);
  EXPECT_EQ(drawn(1e9F, 1), hot);
  EXPECT_NE(drawn(1e9F, 2), hot);
  EXPECT_THAT(hot, ::testing::Contains(::testing::Truly(
                       [](const Ids& ids) { return ids.at(0) != ids.at(1); })));
  // So cold that no token but the likeliest is drawn.
  EXPECT_EQ(drawn(1e-6F, 1), drawn(0, 1));
}

TEST_P(TokenLoopTest, BeginsNoPassForWhatNobodyWants) {
  const auto decoder = load();
  const auto cache = decoder.make_cache(16);
  TokenLoop loop(decoder, sample_, {{cache.get(), 1}},
                 prefill(decoder, *cache, Ids{1, 2, 3}));
  loop.next(true);
  EXPECT_EQ(cache->offset(), 4);
  loop.next(false);
  EXPECT_EQ(cache->offset(), 4);
}

TEST_P(TokenLoopTest, TakesBackTheRowsOfAPassBegunInVain) {
  const auto decoder = load();
  const auto cache = decoder.make_cache(16);
  const Rows rows = {{cache.get(), 1}};
  const Ids prompt = {1, 2, 3};
  Ids tokens;
  const auto take_three = [&](const mx::array& x) {
    TokenLoop loop(decoder, sample_, rows, x);
    for (int i = 0; i < 3; ++i) tokens.push_back(loop.next(true).front());
  };
  take_three(prefill(decoder, *cache, prompt));
  EXPECT_EQ(cache->offset(), 5);
  take_three(decoder.forward(mx::array({tokens.back()}), rows));
  EXPECT_EQ(cache->offset(), 8);
  EXPECT_EQ(tokens, likeliest_after(decoder, prompt, 6));
}

TEST_P(TokenLoopTest, TellsOfLogitsNotFiniteWhenTheirTurnComes) {
  auto decoder = load();
  const auto first = likeliest_after(decoder, {1, 2, 3}, 1).front();
  const auto name = "model.embed_tokens.weight";
  const auto table = checkpoint_.load(*checkpoint_.find(name)).data;
  const auto is_first = mx::equal(mx::arange(32), mx::array(first));
  const float nan = std::numeric_limits<float>::quiet_NaN();
  checkpoint_.put(
      name, mx::where(mx::reshape(is_first, {32, 1}), mx::array(nan), table));
  decoder = load();
  const auto cache = decoder.make_cache(16);
  TokenLoop loop(decoder, sample_, {{cache.get(), 1}},
                 prefill(decoder, *cache, Ids{1, 2, 3}));
  EXPECT_THAT(loop.next(true), ElementsAre(first));
  // The pass begun with this call reads a token that is none.
  const auto message =
      testing::error_of(ErrorCode::not_finite, [&] { loop.next(true); });
  EXPECT_THAT(message, HasSubstr(name));
}

INSTANTIATE_TEST_SUITE_P(
    Backends, TokenLoopTest,
    ::testing::Combine(::testing::ValuesIn(testing::kEveryone),
                       ::testing::Values("llama", "mixtral")),
    [](const auto& test) {
      return concat(testing::to_string(std::get<0>(test.param)), "_",
                    std::get<1>(test.param));
    });

/// A step of the graph that fails.
class Failure final : public mx::UnaryPrimitive {
 public:
  using UnaryPrimitive::UnaryPrimitive;
  const char* name() const override { return "Failure"; }
  void eval_cpu(const std::vector<mx::array>&, mx::array& out) override {
    out.set_data(mx::allocator::malloc(out.nbytes()));
    std::fill_n(out.data<float>(), out.size(),
                std::numeric_limits<float>::quiet_NaN());
    mx::cpu::get_command_encoder(stream()).dispatch(
        [] { throw std::runtime_error("no room left"); });
  }
  void eval_gpu(const std::vector<mx::array>&, mx::array&) override {}
};

enum class FailsWhen { called, evaluated };

/// Our kernels, of which all passes but the first few fail.
class FailingStack final : public Stack {
 public:
  FailingStack(std::shared_ptr<const Stack> stack, int passes, FailsWhen when)
      : stack_(std::move(stack)), passes_(passes), when_(when) {}

  const DecoderWeights& weights() const override { return stack_->weights(); }
  std::unique_ptr<KVCache> make_cache(int capacity) const override {
    return stack_->make_cache(capacity);
  }
  mx::array forward(const mx::array& ids, const Rope& rope,
                    const Rows& rows) const override {
    if (passes_-- > 0) return stack_->forward(ids, rope, rows);
    if (when_ == FailsWhen::called) throw std::runtime_error("no room left");
    const auto x = stack_->forward(ids, rope, rows);
    const auto stream = mx::default_stream(mx::Device::cpu);
    return {x.shape(), x.dtype(), std::make_shared<Failure>(stream), {x}};
  }
  mx::array logits(const mx::array& x) const override {
    return stack_->logits(x);
  }

 private:
  std::shared_ptr<const Stack> stack_;
  mutable int passes_;
  FailsWhen when_;
};

class FailingTokenLoopTest : public ::testing::TestWithParam<FailsWhen> {
 protected:
  /// Calls `use` with a loop whose second token is made by a pass that fails,
  /// as those do that follow. Whoever computes something else afterwards can.
  static void run(const std::function<void(TokenLoop&)>& use) {
    const RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
    auto backend = cpu_backend(mx::float32);
    backend.make = [make = backend.make](DecoderWeights weights,
                                         StackParams params) {
      return std::make_shared<const FailingStack>(
          make(std::move(weights), std::move(params)), 1, GetParam());
    };
    const auto decoder = Decoder::load(checkpoint, mx::float32, backend);
    const auto cache = decoder.make_cache(16);
    Sampler sample({});
    {
      TokenLoop loop(decoder, sample, {{cache.get(), 1}},
                     prefill(decoder, *cache, Ids{1, 2, 3}));
      use(loop);
    }
    EXPECT_EQ(mx::add(mx::array(1), mx::array(2)).item<int>(), 3);
  }
};

TEST_P(FailingTokenLoopTest, FailsWhereTheTokenIsWantedThatCouldNotBeMade) {
  run([](TokenLoop& loop) {
    EXPECT_EQ(loop.next(true).size(), 1);
    EXPECT_THAT([&] { loop.next(true); },
                ThrowsMessage<std::runtime_error>(HasSubstr("no room left")));
  });
}

TEST_P(FailingTokenLoopTest, NobodyHearsOfATokenThatIsNotWanted) {
  run([](TokenLoop& loop) { EXPECT_EQ(loop.next(true).size(), 1); });
}

INSTANTIATE_TEST_SUITE_P(Passes, FailingTokenLoopTest,
                         ::testing::Values(FailsWhen::called,
                                           FailsWhen::evaluated),
                         [](const auto& test) {
                           return test.param == FailsWhen::called ? "Called"
                                                                  : "Evaluated";
                         });

}  // namespace
}  // namespace llamlx
