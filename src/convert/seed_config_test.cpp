#include "convert/seed_config.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "convert/memory_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;

OrderedJson config_for(const MemoryCheckpoint& source,
                       ConvertOptions options = {}) {
  options.layout = ModelLayout::seed;
  return plan_conversion(source, read_model_config(source), options).config;
}

std::vector<std::string> keys_of(const OrderedJson& config) {
  std::vector<std::string> keys;
  for (const auto& [key, value] : config.items()) keys.push_back(key);
  return keys;
}

TEST(SeedConfigTest, SaysWhatConvertPySaysInItsOrder) {
  MemoryCheckpoint source;
  source.tensors.change_config(
      {{"max_position_embeddings", 64}, {"bos_token_id", 1}});
  const auto config = config_for(source, {.quantize = true, .group_size = 32});
  EXPECT_THAT(keys_of(config),
              ElementsAre("dim", "hidden_dim", "n_heads", "n_kv_heads",
                          "n_layers", "vocab_size", "norm_eps",
                          "rope_traditional", "model_type", "quantization"));
  EXPECT_EQ(config["norm_eps"], 1e-5);
  EXPECT_EQ(config["rope_traditional"], false);
  EXPECT_EQ(config["model_type"], "llama");
  EXPECT_THAT(keys_of(config["quantization"]),
              ElementsAre("group_size", "bits"));
}

TEST(SeedConfigTest, KeepsWhatConvertPyForgot) {
  MemoryCheckpoint source;
  source.tensors.change_config({{"rope_theta", 5e5}});
  EXPECT_EQ(config_for(source)["rope_theta"], 5e5);
  auto wide = RandomCheckpoint::tiny_config();
  wide["head_dim"] = 16;
  EXPECT_EQ(config_for(MemoryCheckpoint(wide))["head_dim"], 16);
}

TEST(SeedConfigTest, KeepsEverythingOfModelsThatLlamaPyCannotRun) {
  MemoryCheckpoint source;
  source.tensors.change_config(
      {{"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
       {"max_position_embeddings", 64},
       {"eos_token_id", 7}});
  const auto config = config_for(source);
  EXPECT_EQ(config["rope_scaling"]["factor"], 2.0);
  EXPECT_EQ(config["max_position_embeddings"], 64);
  EXPECT_EQ(config["eos_token_id"], 7);
  EXPECT_FALSE(config.contains("hidden_size"));
}

TEST(SeedConfigTest, TellsTheHeadSizeWhereAnAbsentOneMeansAnother) {
  auto config = RandomCheckpoint::tiny_config();
  config["model_type"] = "qwen3";
  config["head_dim"] = 8;  // as the width is split, but Qwen 3 takes 128
  EXPECT_EQ(config_for(MemoryCheckpoint(config))["head_dim"], 8);
}

TEST(SeedConfigTest, KeepsMetasParamsAsTheyAre) {
  MemoryCheckpoint source;
  source.meta_params = OrderedJson::parse(
      R"({"vocab_size": -1, "dim": 32, "quantization": {"bits": 2}, "x": []})");
  EXPECT_EQ(config_for(source).dump(),
            R"({"vocab_size":-1,"dim":32,"x":[],"model_type":"llama"})");
}

TEST(SeedConfigTest, EmbeddingsStayDenseUnlessAskedFor) {
  MemoryCheckpoint source;
  ConvertOptions options = {
      .layout = ModelLayout::seed, .quantize = true, .group_size = 32};
  const auto embeddings = [&] {
    const auto plan =
        plan_conversion(source, read_model_config(source), options);
    for (const auto& weight : plan.weights) {
      if (weight.name == "tok_embeddings.weight") return weight;
    }
    throw std::out_of_range("tok_embeddings.weight");
  };
  EXPECT_FALSE(embeddings().quantization);
  options.quantize_embeddings = true;
  EXPECT_TRUE(embeddings().quantization);
}

TEST(SeedConfigTest, TiedEmbeddingsAreWrittenTwice) {
  auto config = RandomCheckpoint::tiny_config();
  config["tie_word_embeddings"] = true;
  const MemoryCheckpoint source(config);
  const auto plan = plan_conversion(source, read_model_config(source),
                                    {.layout = ModelLayout::seed});
  const auto output =
      std::ranges::find(plan.weights, "output.weight", &PlannedWeight::name);
  ASSERT_NE(output, plan.weights.end());
  EXPECT_EQ(output->source.name, "model.embed_tokens.weight");
}

TEST(SeedConfigTest, GroupsMustDivideEveryLinearLayer) {
  const MemoryCheckpoint source;
  const auto message = error_of(ErrorCode::unsupported, [&] {
    config_for(source, {.quantize = true, .group_size = 64});
  });
  EXPECT_THAT(message, HasSubstr("groups of 64 do not divide the 32 columns"));
}

}  // namespace
}  // namespace llamlx
