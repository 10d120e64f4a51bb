#include "bench/model_cost.h"

#include <gtest/gtest.h>

#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

// RandomCheckpoint::tiny_config(): D 32, F 64, 4 heads over 2 of width 8, V 32,
// two layers. A layer's linear weights: q and o 32 x 32, k and v 16 x 32, three
// of 64 x 32.
constexpr double kLayer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32;
constexpr double kTable = 32 * 32;
constexpr double kNorms = (2 * 2 + 1) * 32;

ModelCost tiny_cost(const Json& changes = Json::object()) {
  auto config = RandomCheckpoint::tiny_config();
  config.update(changes);
  const RandomCheckpoint checkpoint(config);
  const auto decoder = Decoder::load(checkpoint, mx::float32);
  return cost_of(decoder.config(), decoder.weights(), 2 * 8);
}

TEST(ModelCostTest, CountsWeightsOfAModelWithAHeadOfItsOwn) {
  const auto cost = tiny_cost();
  EXPECT_EQ(cost.layer_bytes, 4 * (2 * kLayer + kNorms));
  EXPECT_EQ(cost.head_bytes, 4 * kTable);
  EXPECT_EQ(cost.embedding_bytes, 4 * 32);
  EXPECT_EQ(cost.layer_flops, 2 * 2 * kLayer);
  EXPECT_EQ(cost.head_flops, 2 * kTable);
  // Keys and values of two heads of width 8, two bytes each.
  EXPECT_EQ(cost.cache_bytes, 2 * 2 * 8 * 2);
  // A product of 8 numbers each way in four heads.
  EXPECT_EQ(cost.attention_flops, 2 * 2 * 4 * 8);
}

TEST(ModelCostTest, CountsTiedWeightsOnce) {
  const auto cost = tiny_cost({{"tie_word_embeddings", true}});
  EXPECT_EQ(cost.layer_bytes, 4 * (2 * kLayer + kNorms));
  EXPECT_EQ(cost.head_bytes, 4 * kTable);
  EXPECT_EQ(cost.head_flops, 2 * kTable);
}

TEST(ModelCostTest, CountsQuantisedWeightsAsTheyArePacked) {
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  checkpoint.quantize_all({4, 32});
  const auto decoder = Decoder::load(checkpoint, mx::float32);
  const auto cost = cost_of(decoder.config(), decoder.weights(), 2 * 8);
  // Half a byte, and a float32 scale and bias for every 32.
  constexpr double kBytes = 0.5 + 8.0 / 32;
  EXPECT_EQ(cost.layer_bytes, kBytes * 2 * kLayer + 4 * kNorms);
  EXPECT_EQ(cost.head_bytes, kBytes * kTable);
  EXPECT_EQ(cost.layer_flops, 2 * 2 * kLayer);
}

TEST(ModelCostTest, CountsTheExpertsOfATokenAlone) {
  const auto cost = tiny_cost({{"model_type", "qwen3_moe"},
                               {"num_hidden_layers", 3},
                               {"num_experts", 6},
                               {"num_experts_per_tok", 2},
                               {"moe_intermediate_size", 16},
                               {"mlp_only_layers", {1}}});
  constexpr double kAttention = 2 * 32 * 32 + 2 * 16 * 32;
  constexpr double kMlp = 3 * 64 * 32;
  constexpr double kExpert = 3 * 16 * 32;
  constexpr double kRouter = 6 * 32;
  // Norms of queries and keys, too.
  constexpr double kSmall = (2 * 3 + 1) * 32 + 3 * 2 * 8;
  EXPECT_EQ(cost.layer_bytes,
            4 * (3 * kAttention + kMlp + 2 * kRouter + kSmall));
  EXPECT_EQ(cost.expert_bytes, 4 * 2 * kExpert);
  EXPECT_EQ(cost.experts, 6);
  EXPECT_EQ(cost.experts_per_row, 2);
  EXPECT_EQ(cost.layer_flops,
            2 * (3 * kAttention + kMlp + 2 * kRouter + 2 * 2 * kExpert));
}

// One layer of easy numbers.
ModelCost easy_cost(std::vector<int> windows) {
  ModelCost cost;
  cost.layer_bytes = 1e6;
  cost.head_bytes = 1e5;
  cost.embedding_bytes = 1e4;
  cost.layer_flops = 2e6;
  cost.head_flops = 2e5;
  cost.cache_bytes = 10;
  cost.attention_flops = 100;
  cost.windows = std::move(windows);
  return cost;
}

TEST(WorkTest, OfAnAnswerReadsTheWeightsForEveryToken) {
  // Positions 5 and 6: five and six rows of the past, and a new one each.
  const auto work = generate_work(easy_cost({0}), 5, 2, 1);
  EXPECT_EQ(work.bytes, 2 * 1.11e6 + 10 * (5 + 1 + 6 + 1));
  EXPECT_EQ(work.flops, 2 * 2.2e6 + 100 * (6 + 7));
}

TEST(WorkTest, OfABatchReadsTheWeightsOnce) {
  const auto work = generate_work(easy_cost({0}), 0, 1, 3);
  EXPECT_EQ(work.bytes, 1.1e6 + 3 * (1e4 + 10));
  EXPECT_EQ(work.flops, 3 * (2.2e6 + 100));
}

TEST(WorkTest, OfAPromptReadsTheWeightsOnceAChunk) {
  // Three tokens, then two: the second chunk reads the rows of the first.
  const auto work = prompt_work(easy_cost({0}), 0, 5, 3);
  EXPECT_EQ(work.bytes, 2e6 + 1e5 + 5e4 + 10 * (3 + 3 + 2));
  EXPECT_EQ(work.flops, 5 * 2e6 + 2e5 + 100 * (1 + 2 + 3 + 4 + 5));
}

TEST(WorkTest, ReadsTheExpertsThatRowsGoTo) {
  auto cost = easy_cost({0});
  cost.experts = 4;
  cost.experts_per_row = 2;
  cost.expert_bytes = 1000;
  const auto more = [&](const Work& work, const Work& without) {
    return work.bytes - without.bytes;
  };
  const auto plain = easy_cost({0});
  // One row goes to two; two rows of half the experts each to three of four.
  EXPECT_EQ(more(generate_work(cost, 0, 5, 1), generate_work(plain, 0, 5, 1)),
            5 * 2 * 1000);
  EXPECT_EQ(more(generate_work(cost, 0, 5, 2), generate_work(plain, 0, 5, 2)),
            5 * 3 * 1000);
  // Chunks of three and two rows.
  EXPECT_EQ(more(prompt_work(cost, 0, 5, 3), prompt_work(plain, 0, 5, 3)),
            (4 * 7 / 8.0 + 3) * 1000);
  cost.experts_per_row = 4;
  EXPECT_EQ(more(generate_work(cost, 0, 1, 9), generate_work(plain, 0, 1, 9)),
            4 * 1000);
}

TEST(WorkTest, OfAWindowReadsNoFurtherBack) {
  // A row sees itself and two before; the other layer sees all.
  const auto work = generate_work(easy_cost({3, 0}), 100, 1, 1);
  EXPECT_EQ(work.bytes, 1.11e6 + 10 * (2 + 1) + 10 * (100 + 1));
  EXPECT_EQ(work.flops, 2.2e6 + 100 * 3 + 100 * 101);
}

}  // namespace
}  // namespace llamlx
