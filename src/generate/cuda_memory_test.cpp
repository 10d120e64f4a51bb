// What happens when the GPU's memory is too small: on the emulated GPU, whose
// memory can be.
#include "kernels/cuda/cuda_memory.h"

#include <cstdlib>
#include <numeric>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"
#include "cuda/modules.h"
#include "generate/generator.h"
#include "generate/token_loop.h"
#include "kernels/cuda/cuda_kv_cache.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;

std::uint64_t used_bytes() {
  const auto info = *cuda_device_info();
  return info.memory_bytes - info.free_bytes;
}

class CudaMemoryTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_device_info() || !cuda_modules().empty()) {
      GTEST_SKIP() << "the GPU is not emulated";
    }
  }
  void TearDown() override { ::unsetenv(kVariable); }

  /// Leaves so many bytes free.
  static void leave(std::uint64_t bytes) {
    ::setenv(kVariable, std::to_string(used_bytes() + bytes).c_str(), 1);
  }

  Decoder load(long long expected_tokens, int kv_bits = 0) const {
    return Decoder::load(checkpoint_, mx::bfloat16,
                         cuda_backend(mx::bfloat16, kv_bits), expected_tokens);
  }

  static CudaMemoryPlan plan_of(
      const Decoder& decoder, long long tokens,
      cuda::NumberType cached = cuda::NumberType::bf16) {
    const auto& c = decoder.config();
    return plan_cuda_memory(
        *cuda_device_info(), decoder.weights(),
        {{c.num_attention_heads, c.num_key_value_heads, c.head_dim},
         c.rms_norm_eps,
         c.layer_windows,
         tokens,
         {c.moe.num_experts_per_tok, c.moe.norm_topk_prob}},
        cuda::NumberType::bf16, cached);
  }

  static std::vector<std::int32_t> some_ids(int count) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) ids[static_cast<std::size_t>(i)] = i % 29;
    return ids;
  }

  static std::vector<float> last_logits(const Decoder& decoder, KVCache& cache,
                                        int count) {
    const auto logits =
        decoder.logits(prefill(decoder, cache, some_ids(count)));
    const auto values = mx::contiguous(logits);
    mx::eval(values);
    return {values.data<float>(), values.data<float>() + values.size()};
  }

  /// That what a text of some tokens takes is planned.
  void expect_planned() const {
    ::unsetenv(kVariable);
    constexpr int kTokens = 40;
    // Views of segments and the like, which a small model makes much of.
    constexpr std::size_t kSmall = 16 << 10;
    // There is none for shorter copies of weights, which are in no plan.
    const auto plan = plan_of(load(kTokens), kTokens);
    leave(plan.most() + kSmall);
    const auto before = used_bytes();
    const auto decoder = load(kTokens);
    const auto cache = decoder.make_cache(kTokens);
    const auto x = prefill(decoder, *cache, some_ids(kTokens));
    Sampler sample({});
    TokenLoop(decoder, sample, {{cache.get(), 1}}, x).next(false);
    const auto used = used_bytes() - before;
    EXPECT_LE(plan.weights + plan.cache + plan.workspace, used);
    EXPECT_GE(plan.weights + plan.cache + plan.workspace + kSmall, used);
  }

  static constexpr auto kVariable = "LLAMLX_EMULATED_GPU_MEMORY";
  RandomCheckpoint checkpoint_{RandomCheckpoint::tiny_config()};
};

TEST_F(CudaMemoryTest, IsPlannedForWhatATextTakes) {
  expect_planned();
  for (const auto mode : {QuantizationMode::nvfp4, QuantizationMode::mxfp8}) {
    SCOPED_TRACE(to_string(mode));
    checkpoint_ = RandomCheckpoint(RandomCheckpoint::tiny_config());
    checkpoint_.quantize_all(default_quantization(mode));
    expect_planned();
  }
}

/// Which a decoder can do without: they take none that a text may need.
TEST_F(CudaMemoryTest, IsTakenForShorterCopiesOfWeightsWhereThereIsEnough) {
  constexpr int kTokens = 40;
  checkpoint_ = RandomCheckpoint({{"model_type", "llama"},
                                  {"hidden_size", 128},
                                  {"intermediate_size", 128},
                                  {"num_hidden_layers", 2},
                                  {"num_attention_heads", 2},
                                  {"num_key_value_heads", 2},
                                  {"vocab_size", 32},
                                  {"rms_norm_eps", 1e-5},
                                  {"tie_word_embeddings", false}});
  checkpoint_.store_as(mx::bfloat16);
  const auto plan = plan_of(load(kTokens), kTokens);
  const auto needed =
      plan.weights + plan.cache + plan.workspace + plan.weights * 8 / 10;
  // What else a decoder has, and a tenth of all: far less, and far more.
  for (const auto bytes : {needed, needed * 5 / 4}) {
    leave(bytes);
    const auto before = used_bytes();
    const auto decoder = load(kTokens);
    const auto loaded = used_bytes() - before;
    const bool has_copies = bytes > needed;
    EXPECT_EQ(decoder.spared_bytes(1) > 0, has_copies);
    EXPECT_GE(loaded, plan.weights + (has_copies ? plan.weights * 7 / 10 : 0));
    const auto cache = decoder.make_cache(kTokens);
    EXPECT_EQ(last_logits(decoder, *cache, kTokens).size(), 32U);
    EXPECT_EQ(last_logits(decoder, *cache, 1).size(), 32U);
  }
}

/// Of rows that all groups have, of groups by experts_some, and by
/// experts_many.
TEST_F(CudaMemoryTest, IsPlannedForExperts) {
  for (const bool is_quantised : {false, true}) {
    auto config = RandomCheckpoint::tiny_config();
    config.update(Json{{"model_type", "mixtral"},
                       {"hidden_size", 128},
                       {"intermediate_size", 160},
                       {"num_local_experts", 6},
                       {"num_experts_per_tok", 2}});
    checkpoint_ = RandomCheckpoint(config);
    if (is_quantised) checkpoint_.quantize_all({4, 32});
    for (const int tokens : {1, 7, 40, 80}) {
      const auto before = used_bytes();
      const auto decoder = load(tokens);
      const auto cache = decoder.make_cache(tokens);
      last_logits(decoder, *cache, tokens);
      const auto used = used_bytes() - before;
      const auto plan = plan_of(decoder, tokens);
      const auto planned = plan.weights + plan.cache + plan.workspace;
      EXPECT_LE(planned, used) << tokens;
      EXPECT_GE(planned + planned / 10 + (32 << 10), used) << tokens;
      EXPECT_GT(plan.loading, 0U);
    }
  }
}

/// Of 8 bits, which prompts have expanded, all or what windows show; and few
/// rows have not.
TEST_F(CudaMemoryTest, IsPlannedForCachesOf8Bits) {
  auto config = RandomCheckpoint::tiny_config();
  config.update(Json{{"model_type", "mistral"}, {"head_dim", 72}});
  for (const int window : {0, 50}) {
    if (window > 0) config["sliding_window"] = window;
    checkpoint_ = RandomCheckpoint(config);
    for (const int tokens : {7, 40, 300}) {
      const auto before = used_bytes();
      const auto decoder = load(tokens, 8);
      const auto cache = decoder.make_cache(tokens);
      last_logits(decoder, *cache, tokens);
      const auto used = used_bytes() - before;
      const auto plan = plan_of(decoder, tokens, cuda::NumberType::q8);
      const auto planned = plan.weights + plan.cache + plan.workspace;
      EXPECT_LE(planned, used) << tokens;
      EXPECT_GE(planned + planned / 50 + (16 << 10), used) << tokens;
      const auto plain = plan_of(decoder, tokens);
      EXPECT_NEAR(double(plan.cache) / plain.cache, (80 + 8) / 144.0, 1e-6);
      EXPECT_EQ(plan.workspace > plain.workspace, tokens > 8);
    }
  }
}

TEST_F(CudaMemoryTest, IsPlannedForQuantisedWeights) {
  checkpoint_.quantize_all({4, 32});
  const auto before = used_bytes();
  const auto decoder = load(1);
  const auto plan = plan_of(decoder, 1);
  const auto loaded = used_bytes() - before;
  EXPECT_LE(plan.weights, loaded);
  EXPECT_GE(plan.weights + (4 << 10), loaded);
  EXPECT_GT(plan.loading, 0U);
  // More rows at once have the weights expanded.
  EXPECT_GT(plan_of(decoder, 100).workspace, 20 * plan.workspace);
}

TEST_F(CudaMemoryTest, ThatIsTooSmallIsToldBeforeAnythingIsLoaded) {
  constexpr int kTokens = 300;
  const auto plan = plan_of(load(kTokens), kTokens);
  const auto before = used_bytes();
  leave(plan.most() - 1);
  const auto message =
      testing::error_of(ErrorCode::out_of_memory, [&] { load(kTokens); });
  EXPECT_THAT(message, HasSubstr("keys and values of 300 tokens"));
  EXPECT_THAT(message, HasSubstr("--device cpu"));
  EXPECT_EQ(used_bytes(), before);
  leave(plan.most());
  load(kTokens);
}

TEST_F(CudaMemoryTest, IsNotPlannedForTokensThatNobodyExpects) {
  const auto plan = plan_of(load(0), 300);
  leave(plan.most() - 1);
  load(0);
}

TEST_F(CudaMemoryTest, ThatACacheDoesNotGetIsTold) {
  const auto decoder = load(0);
  leave(1000);
  const auto message = testing::error_of(ErrorCode::out_of_memory,
                                         [&] { decoder.make_cache(300); });
  EXPECT_THAT(message, HasSubstr("keys and values of 512 tokens take"));
  EXPECT_THAT(message, HasSubstr("fewer tokens"));
}

TEST_F(CudaMemoryTest, ThatACacheCannotGrowIntoIsToldAndNothingIsLost) {
  constexpr int kBefore = 200, kAfter = 100;
  const auto decoder = load(0);
  const auto expected = [&] {
    const auto cache = decoder.make_cache(1);
    prefill(decoder, *cache, some_ids(kBefore));
    return last_logits(decoder, *cache, kAfter);
  }();
  const auto cache = decoder.make_cache(1);
  prefill(decoder, *cache, some_ids(kBefore));
  leave(1000);
  const auto message = testing::error_of(
      ErrorCode::out_of_memory, [&] { last_logits(decoder, *cache, kAfter); });
  EXPECT_THAT(message, HasSubstr("keys and values of 512 tokens take"));
  leave(std::uint64_t{1} << 30);
  cache->rewind(kBefore);
  EXPECT_EQ(last_logits(decoder, *cache, kAfter), expected);
}

TEST_F(CudaMemoryTest, ThatEndsDuringAnAnswerIsTold) {
  constexpr int kPrompt = 254;
  for (const float temperature : {0.0F, 1.0F}) {
    const auto decoder = load(0);
    const auto cache = decoder.make_cache(1);
    Sampler sample({.temperature = temperature});
    const auto message = testing::error_of(ErrorCode::out_of_memory, [&] {
      TokenLoop loop(decoder, sample, {{cache.get(), 1}},
                     prefill(decoder, *cache, some_ids(kPrompt)));
      loop.next(true);
      leave(1000);
      for (int i = 0; i < 6; ++i) loop.next(true);
    });
    EXPECT_THAT(message, HasSubstr("keys and values of 512 tokens take"));
    leave(std::uint64_t{1} << 30);
    const auto other = decoder.make_cache(1);
    EXPECT_EQ(last_logits(decoder, *other, 3).size(), 32U);
  }
}

/// Rows that a window does not see leave its cache, and a long text goes on as
/// if they had not.
TEST_F(CudaMemoryTest, IsNotTakenForWhatNoWindowSees) {
  auto config = RandomCheckpoint::tiny_config();
  config.update(Json{{"model_type", "mistral"},
                     {"sliding_window", 300},
                     {"num_hidden_layers", 1},
                     {"max_position_embeddings", 10'000}});
  checkpoint_ = RandomCheckpoint(config);
  constexpr int kPrompt = 5'120, kMore = 20;
  const auto decoder = load(kPrompt);
  const auto plan = plan_of(decoder, kPrompt);
  EXPECT_EQ(plan.cache, plan_of(decoder, 10 * kPrompt).cache);
  const auto exact = Decoder::load(checkpoint_, mx::float32, mlx_backend());
  {  // What passes have between kernels stays.
    const auto cache = decoder.make_cache(1);
    last_logits(decoder, *cache, 2048);
    last_logits(decoder, *cache, 1);
  }
  std::vector<std::vector<float>> logits;
  std::vector<std::unique_ptr<KVCache>> caches;
  for (const auto* model : {&decoder, &exact}) {
    const auto before = used_bytes();
    caches.push_back(model->make_cache(1));
    prefill(*model, *caches.back(), some_ids(kPrompt));
    for (int i = 0; i < kMore; ++i) {
      logits.push_back(last_logits(*model, *caches.back(), 1));
    }
    EXPECT_LE(used_bytes() - before, plan.cache);
  }
  EXPECT_FALSE(caches.front()->can_rewind(0));
  for (int i = 0; i < kMore; ++i) {
    for (int j = 0; j < 32; ++j) {
      ASSERT_NEAR(logits[i][j], logits[kMore + i][j], 0.05) << i;
    }
  }
}

TEST_F(CudaMemoryTest, GivesACacheTheLeastItNeedsWhereThereIsNoMore) {
  const CudaKVStore::Shape shape{cuda::NumberType::bf16, 1, 1, 8};
  Stream stream;
  CudaKVStore store(shape, 1024);
  EXPECT_EQ(store.view(0, 0, 1).capacity, 1024);
  leave(CudaKVStore::bytes_for(shape, 1280));
  store.reserve(stream, 1024, 1);
  EXPECT_EQ(store.view(0, 0, 1).capacity, 1280);
}

}  // namespace
}  // namespace llamlx
