#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "models/config_testing.h"
#include "models/decoder.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Json config_of(const char* model_type, const Json& changes) {
  auto config = RandomCheckpoint::tiny_config();
  config["model_type"] = model_type;
  config.update(changes);
  return config;
}

/// The config of a model, with random tensors to go with it.
ModelConfig read(const char* model_type, const Json& changes) {
  const RandomCheckpoint checkpoint(config_of(model_type, changes));
  auto result = read_model_config(checkpoint);
  verify_tensors(result, checkpoint);
  return result;
}

TEST(MoeConfigTest, WhatAMixtralDoesNotSayIsAsTransformersHasIt) {
  const auto c = read("mixtral", {{"rms_norm_eps", nullptr}});
  EXPECT_EQ(c.moe.module, "block_sparse_moe");
  EXPECT_EQ(c.moe.num_experts, 8);
  EXPECT_EQ(c.moe.num_experts_per_tok, 2);
  EXPECT_EQ(c.moe.intermediate_size, 64);
  EXPECT_TRUE(c.moe.norm_topk_prob);
  EXPECT_THAT(c.moe.layers, ElementsAre(true, true));
  EXPECT_THAT(c.layer_windows, ElementsAre(0, 0));
  EXPECT_EQ(c.rope.theta, 1e6f);
  EXPECT_EQ(c.rms_norm_eps, 1e-5f);
}

TEST(MoeConfigTest, AMixtralSaysItsOwn) {
  const auto c = read("mixtral", {{"num_local_experts", 5},
                                  {"num_experts_per_tok", 5},
                                  {"sliding_window", 7},
                                  {"rope_theta", 500}});
  EXPECT_EQ(c.moe.num_experts, 5);
  EXPECT_EQ(c.moe.num_experts_per_tok, 5);
  EXPECT_THAT(c.layer_windows, ElementsAre(7, 7));
  EXPECT_EQ(c.rope.theta, 500);
}

TEST(MoeConfigTest, WhatAQwen3MoeDoesNotSayIsAsTransformersHasIt) {
  const auto c = read("qwen3_moe", Json::object());
  EXPECT_EQ(c.moe.module, "mlp");
  EXPECT_EQ(c.moe.num_experts, 128);
  EXPECT_EQ(c.moe.num_experts_per_tok, 8);
  EXPECT_EQ(c.moe.intermediate_size, 768);
  EXPECT_FALSE(c.moe.norm_topk_prob);
  EXPECT_THAT(c.moe.layers, ElementsAre(true, true));
  EXPECT_EQ(c.head_dim, 8);
  EXPECT_TRUE(c.qk_norm);
}

const Json kFew = {{"num_experts", 4},
                   {"num_experts_per_tok", 2},
                   {"moe_intermediate_size", 16},
                   {"num_hidden_layers", 4}};

Json few_with(const Json& changes) {
  auto result = kFew;
  result.update(changes);
  return result;
}

TEST(MoeConfigTest, SomeLayersOfAQwen3MoeHaveOneMlp) {
  const auto layers = [](const Json& changes) {
    return read("qwen3_moe", few_with(changes)).moe.layers;
  };
  EXPECT_THAT(layers({{"mlp_only_layers", {0, 3, 9}}}),
              ElementsAre(false, true, true, false));
  EXPECT_THAT(layers({{"decoder_sparse_step", 2}}),
              ElementsAre(false, true, false, true));
  EXPECT_THAT(layers({{"decoder_sparse_step", 2}, {"mlp_only_layers", {1}}}),
              ElementsAre(false, false, false, true));
}

TEST(MoeConfigTest, AQwen3MoeMayHaveNoExperts) {
  const auto has_experts = [](const Json& layers) {
    return read("qwen3_moe", few_with({{"mlp_only_layers", layers}}))
        .has_experts();
  };
  EXPECT_TRUE(has_experts({0, 1, 3}));
  EXPECT_FALSE(has_experts({0, 1, 2, 3}));
  EXPECT_FALSE(read("llama", Json::object()).has_experts());
}

TEST(MoeConfigTest, AQwen3MoeSlidesInAllLayersWhereItsWindowIsUsed) {
  const auto windows = [](const Json& changes) {
    return read("qwen3_moe", few_with(changes)).layer_windows;
  };
  EXPECT_THAT(windows({{"sliding_window", 5}}), ElementsAre(0, 0, 0, 0));
  const Json used = {{"use_sliding_window", true}};
  EXPECT_THAT(windows(used), ElementsAre(4096, 4096, 4096, 4096));
  EXPECT_THAT(windows({{"use_sliding_window", true}, {"sliding_window", 5}}),
              ElementsAre(5, 5, 5, 5));
}

TEST(MoeConfigTest, BothSpellingsOfTheNumberOfExpertsCount) {
  auto spelled = kFew;
  spelled.erase("num_experts");
  spelled["num_local_experts"] = 3;
  EXPECT_EQ(read("qwen3_moe", spelled).moe.num_experts, 3);
}

struct BadMoe {
  const char* model_type;
  Json changes;
  const char* message;
};

class BadMoeConfigTest : public ::testing::TestWithParam<BadMoe> {};

TEST_P(BadMoeConfigTest, IsRefusedInOneLine) {
  const auto& [model_type, changes, expected] = GetParam();
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  checkpoint.change_config({{"model_type", model_type}});
  checkpoint.change_config(changes);
  testing::expect_refused_config(checkpoint, expected);
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadMoeConfigTest,
    ::testing::Values(
        BadMoe{"mixtral", {{"num_local_experts", 0}}, "_experts\" is 0"},
        BadMoe{"mixtral", {{"num_local_experts", -2}}, "_experts\" is -2"},
        BadMoe{"mixtral", {{"num_local_experts", "8"}}, "whole number"},
        BadMoe{"mixtral", {{"num_local_experts", 1 << 20}}, "rows of weights"},
        BadMoe{"mixtral", {{"num_local_experts", 1}}, "is 2, of 1 experts"},
        BadMoe{"mixtral", {{"num_experts_per_tok", 9}}, "is 9, of 8 experts"},
        BadMoe{"mixtral", {{"num_experts_per_tok", 0}}, "_per_tok\" is 0"},
        BadMoe{"mixtral", {{"attention_bias", true}}, "\"attention_bias\""},
        BadMoe{"mixtral",
               {{"sliding_window", 4},
                {"layer_types", {"full_attention", "sliding_attention"}}},
               "differ from its \"sliding_window\""},
        BadMoe{"qwen3_moe",
               {{"num_experts", 4}, {"num_local_experts", 5}},
               "\"num_experts\" is 4, but \"num_local_experts\" is 5"},
        BadMoe{"qwen3_moe", {{"num_experts", 0}}, "\"num_experts\" is 0"},
        BadMoe{"qwen3_moe", {{"num_experts", 4}}, "is 8, of 4 experts"},
        BadMoe{"qwen3_moe",
               {{"moe_intermediate_size", 1 << 23}},
               "rows of weights"},
        BadMoe{"qwen3_moe", {{"moe_intermediate_size", 0}}, "_size\" is 0"},
        BadMoe{"qwen3_moe", {{"decoder_sparse_step", 0}}, "_step\" is 0"},
        BadMoe{"qwen3_moe", {{"mlp_only_layers", 1}}, "not a list of layers"},
        BadMoe{"qwen3_moe", {{"mlp_only_layers", {"1"}}}, "a list of layers"},
        BadMoe{"qwen3_moe", {{"norm_topk_prob", 1}}, "norm_topk_prob"},
        BadMoe{"qwen3_moe", {{"mlp_bias", true}}, "\"mlp_bias\" is true"}));

TEST(FirstNotFiniteTest, NamesExpertsAndRouters) {
  for (const char* name : {"model.layers.3.mlp.gate.weight",
                           "model.layers.3.mlp.switch_mlp.down_proj.weight"}) {
    RandomCheckpoint checkpoint(config_of("qwen3_moe", kFew));
    const auto shape = checkpoint.find(name)->shape;
    checkpoint.put(name, mx::full(shape, std::nanf("")));
    const auto decoder = Decoder::load(checkpoint, mx::float32);
    EXPECT_EQ(first_not_finite(decoder.weights(), decoder.config()), name);
  }
}

TEST(VerifyTensorsTest, NamesExpertsOfAnotherNumber) {
  RandomCheckpoint checkpoint(config_of("qwen3_moe", kFew));
  checkpoint.put("model.layers.2.mlp.switch_mlp.up_proj.weight",
                 mx::zeros({3, 16, 32}));
  const auto message = testing::error_of(ErrorCode::mismatch, [&] {
    verify_tensors(read_model_config(checkpoint), checkpoint);
  });
  EXPECT_THAT(message, HasSubstr("up_proj.weight should have shape "
                                 "[4, 16, 32] by the config, got [3, 16, 32]"));
}

}  // namespace
}  // namespace llamlx
