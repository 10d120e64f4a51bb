#include "convert/converted_config.h"

#include <gtest/gtest.h>

#include "convert/memory_checkpoint.h"

namespace llamlx {
namespace {

Json config_for(const MemoryCheckpoint& source,
                const ConvertOptions& options = {}) {
  return plan_conversion(source, read_model_config(source), options).config;
}

TEST(ConvertedConfigTest, KeepsWhatItDoesNotKnow) {
  MemoryCheckpoint source;
  source.tensors.change_config(
      {{"eos_token_id", {1, 2}}, {"something", {{"new", nullptr}}}});
  const auto config = config_for(source);
  EXPECT_EQ(config["eos_token_id"], Json({1, 2}));
  EXPECT_EQ(config["something"], Json({{"new", nullptr}}));
  EXPECT_EQ(config["rms_norm_eps"], 1e-5);
}

TEST(ConvertedConfigTest, TellsTheTypeThatWasWritten) {
  MemoryCheckpoint source;
  source.tensors.change_config({{"dtype", "float32"}, {"_name_or_path", "/x"}});
  const auto config = config_for(source, {.dtype = "bfloat16"});
  EXPECT_EQ(config["torch_dtype"], "bfloat16");
  EXPECT_EQ(config["dtype"], "bfloat16");
  EXPECT_FALSE(config.contains("_name_or_path"));
  EXPECT_FALSE(config.contains("quantization"));
}

TEST(ConvertedConfigTest, TellsTheQuantisationTwice) {
  const MemoryCheckpoint source;
  const auto config =
      config_for(source, {.quantize = true, .bits = 5, .group_size = 32});
  const Json expected = {{"group_size", 32}, {"bits", 5}, {"mode", "affine"}};
  EXPECT_EQ(config["quantization"], expected);
  EXPECT_EQ(config["quantization_config"], expected);
  EXPECT_FALSE(config.contains("dtype"));
}

TEST(ConvertedConfigTest, NamesTheModulesThatDiffer) {
  MemoryCheckpoint source;
  const auto embeddings = source.value("model.embed_tokens.weight");
  source.tensors.quantize_all({4, 32});
  source.tensors.put("model.embed_tokens.weight",
                     quantize(embeddings, {8, 32}));
  const auto quantization = config_for(source)["quantization"];
  EXPECT_EQ(quantization,
            Json({{"group_size", 32},
                  {"bits", 4},
                  {"mode", "affine"},
                  {"model.embed_tokens", {{"group_size", 32}, {"bits", 8}}}}));
}

TEST(ConvertedConfigTest, NamesTheModesThatDiffer) {
  MemoryCheckpoint source;
  const auto embeddings = source.value("model.embed_tokens.weight");
  const auto head = source.value("lm_head.weight");
  source.tensors.quantize_all(default_quantization(QuantizationMode::mxfp4));
  source.tensors.put(
      "model.embed_tokens.weight",
      quantize(embeddings, default_quantization(QuantizationMode::nvfp4)));
  source.tensors.put("lm_head.weight", quantize(head, {8, 32}));
  const Json expected = {{"group_size", 32},
                         {"bits", 4},
                         {"mode", "mxfp4"},
                         {"model.embed_tokens",
                          {{"group_size", 16}, {"bits", 4}, {"mode", "nvfp4"}}},
                         {"lm_head", {{"group_size", 32}, {"bits", 8}}}};
  EXPECT_EQ(config_for(source)["quantization"], expected);
  EXPECT_EQ(
      config_for(source, {.layout = ModelLayout::seed})["quantization"]["mode"],
      "mxfp4");
}

TEST(ConvertedConfigTest, ForgetsTheQuantisationOfAnExpandedSource) {
  MemoryCheckpoint source;
  source.tensors.quantize_all({4, 32});
  source.tensors.change_config(
      {{"quantization", {{"bits", 4}, {"group_size", 32}}},
       {"quantization_config", {{"bits", 4}, {"group_size", 32}}}});
  const auto config = config_for(source, {.dtype = "float32"});
  EXPECT_FALSE(config.contains("quantization"));
  EXPECT_FALSE(config.contains("quantization_config"));
}

TEST(ConvertedConfigTest, SaysWhatTheTensorsSettled) {
  auto open = RandomCheckpoint::tiny_config();
  MemoryCheckpoint source(open);
  source.tensors.change_config({{"tie_word_embeddings", nullptr}});
  const auto config = config_for(source);
  EXPECT_EQ(config["tie_word_embeddings"], false);
  EXPECT_EQ(config["attention_bias"], false);
  EXPECT_EQ(config["mlp_bias"], false);
}

TEST(ConvertedConfigTest, SpellsRotaryPositionsForOlderReaders) {
  MemoryCheckpoint source;
  const Json rope = {
      {"rope_theta", 500000.0}, {"rope_type", "linear"}, {"factor", 2.0}};
  source.tensors.change_config({{"rope_parameters", rope}});
  const auto config = config_for(source);
  EXPECT_EQ(config["rope_theta"], 500000.0);
  EXPECT_EQ(config["rope_scaling"], rope);
  EXPECT_EQ(config["rope_parameters"], rope);
}

TEST(ConvertedConfigTest, StatesHeadsThatAreNoShareOfTheWidth) {
  const MemoryCheckpoint llama;
  EXPECT_FALSE(config_for(llama).contains("head_dim"));
  auto config = RandomCheckpoint::tiny_config();
  config["model_type"] = "qwen3";
  EXPECT_EQ(config_for(MemoryCheckpoint(config))["head_dim"], 128);
}

TEST(ConvertedConfigTest, StatesTheContextThatScalingStartsFrom) {
  MemoryCheckpoint source;
  source.tensors.change_config(
      {{"max_position_embeddings", 64},
       {"original_max_position_embeddings", 32},
       {"rope_scaling", {{"type", "yarn"}, {"factor", 4.0}}}});
  const auto config = config_for(source);
  EXPECT_EQ(config["rope_scaling"]["original_max_position_embeddings"], 32);
  EXPECT_EQ(config["rope_scaling"]["type"], "yarn");
}

TEST(ConvertedConfigTest, UnscaledRotaryPositionsHaveNoScaling) {
  MemoryCheckpoint source;
  source.tensors.change_config(
      {{"rope_parameters",
        {{"rope_theta", 100000.0}, {"rope_type", "default"}}}});
  const auto config = config_for(source);
  EXPECT_EQ(config["rope_theta"], 100000.0);
  EXPECT_FALSE(config.contains("rope_scaling"));
}

}  // namespace
}  // namespace llamlx
