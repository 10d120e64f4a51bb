#include "checkpoint/gguf_checkpoint.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"
#include "checkpoint/gguf_test_model.h"

namespace llamlx {
namespace {

using testing::counting_floats;
using ::testing::ElementsAre;
using testing::error_of;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::raw;
using testing::TemporaryFolder;
using testing::tiny_gguf;
using testing::tiny_llama;

std::vector<float> values_of(const Weight& weight) {
  auto dense = mx::contiguous(dequantize(weight, mx::float32));
  dense.eval();
  return {dense.data<float>(), dense.data<float>() + dense.size()};
}

class GgufCheckpointTest : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> open(const GgufBuilder& file) {
    return open_gguf_checkpoint(folder_.write("model.gguf", file.bytes()));
  }
  std::string error(const GgufBuilder& file, ErrorCode code) {
    return error_of(code, [&] { open(file); });
  }
  Weight load(const Checkpoint& checkpoint, std::string_view name) {
    const auto* info = checkpoint.find(name);
    if (info == nullptr) throw std::invalid_argument(std::string(name));
    return checkpoint.load(*info);
  }

  TemporaryFolder folder_;
};

TEST_F(GgufCheckpointTest, GivesHuggingFacesNamesAndShapes) {
  const auto checkpoint = open(tiny_llama());
  EXPECT_EQ(checkpoint->format(), "gguf");
  EXPECT_THAT(checkpoint->weight_files(),
              ElementsAre(folder_.path() / "model.gguf"));
  std::vector<std::string> names;
  for (const auto& info : checkpoint->weights()) names.push_back(info.name);
  EXPECT_TRUE(std::ranges::is_sorted(names));
  EXPECT_EQ(names.size(), 2u + 2 * 9);
  EXPECT_THAT(names, ::testing::IsSupersetOf(
                         {"model.embed_tokens.weight", "model.norm.weight",
                          "model.layers.1.input_layernorm.weight",
                          "model.layers.1.post_attention_layernorm.weight",
                          "model.layers.1.self_attn.q_proj.weight",
                          "model.layers.1.self_attn.k_proj.weight",
                          "model.layers.1.self_attn.v_proj.weight",
                          "model.layers.1.self_attn.o_proj.weight",
                          "model.layers.1.mlp.gate_proj.weight",
                          "model.layers.1.mlp.up_proj.weight",
                          "model.layers.1.mlp.down_proj.weight"}));
  const auto* down = checkpoint->find("model.layers.0.mlp.down_proj.weight");
  EXPECT_EQ(down->shape, (mx::Shape{8, 16}));
  EXPECT_EQ(down->dtype, mx::float32);
  EXPECT_THROW(checkpoint->load({"model.other.weight", {8}, mx::float32}),
               std::invalid_argument);
}

TEST_F(GgufCheckpointTest, TellsTheConfigInHuggingFacesWords) {
  const auto checkpoint = open(tiny_llama());
  const auto expected = Json::parse(R"({
      "architectures": ["LlamaForCausalLM"], "model_type": "llama",
      "hidden_act": "silu", "hidden_size": 8, "intermediate_size": 16,
      "num_hidden_layers": 2, "num_attention_heads": 2,
      "num_key_value_heads": 1, "head_dim": 4, "vocab_size": 6,
      "max_position_embeddings": 64, "rms_norm_eps": 1e-05,
      "rope_theta": 10000.0, "tie_word_embeddings": true,
      "attention_bias": false, "mlp_bias": false})");
  EXPECT_EQ(checkpoint->config(), expected);
  EXPECT_THAT(checkpoint->config().dump(), HasSubstr("\"rms_norm_eps\":1e-05"));
}

TEST_F(GgufCheckpointTest, PutsQueryAndKeyRowsBackIntoOrder) {
  auto file = tiny_llama();
  file.add("blk.0.attn_q.bias", {8}, GgmlType::f32, counting_floats(8));
  file.add("blk.0.attn_k.bias", {4}, GgmlType::f32, counting_floats(4));
  const auto checkpoint = open(file);
  const auto rows = [&](const char* module) {
    const auto values = values_of(
        load(*checkpoint, concat("model.layers.0.self_attn.", module)));
    std::vector<int> firsts;
    for (std::size_t i = 0; i < values.size(); i += 8) {
      firsts.push_back(static_cast<int>(values[i]) / 8);
    }
    return firsts;
  };
  EXPECT_THAT(rows("q_proj.weight"), ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(rows("k_proj.weight"), ElementsAre(0, 2, 1, 3));
  EXPECT_THAT(rows("v_proj.weight"), ElementsAre(0, 1, 2, 3));
  EXPECT_THAT(rows("o_proj.weight"), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7));
  EXPECT_THAT(
      values_of(load(*checkpoint, "model.layers.0.self_attn.q_proj.bias")),
      ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
  EXPECT_THAT(
      values_of(load(*checkpoint, "model.layers.0.self_attn.k_proj.bias")),
      ElementsAre(0, 2, 1, 3));
}

TEST_F(GgufCheckpointTest, KeepsBlocksQuantisedInTheirNewOrder) {
  GgufBuilder file = tiny_llama();
  file.set("llama.embedding_length", std::uint32_t{32});
  file.remove_tensor("blk.0.attn_q.weight");
  std::string blocks;
  for (char row = 0; row < 8; ++row) {
    blocks += raw<std::uint16_t>(0x3c00) + std::string(32, row);
  }
  file.add("blk.0.attn_q.weight", {32, 8}, GgmlType::q8_0, blocks);
  const auto checkpoint = open(file);
  const auto* info = checkpoint->find("model.layers.0.self_attn.q_proj.weight");
  EXPECT_EQ(info->quantization, (Quantization{8, 32}));
  EXPECT_EQ(info->dtype, mx::float16);
  const auto weight = checkpoint->load(*info);
  EXPECT_EQ(weight.quantization, info->quantization);
  const auto values = values_of(weight);
  std::vector<float> firsts;
  for (std::size_t i = 0; i < values.size(); i += 32) {
    firsts.push_back(values[i]);
  }
  EXPECT_THAT(firsts, ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
}

TEST_F(GgufCheckpointTest, SaysWhatTheTensorsDecide) {
  auto file = tiny_llama();
  file.add("output.weight", {8, 6}, GgmlType::f32, counting_floats(48));
  for (const char* module : {"attn_q", "attn_v", "attn_output"}) {
    file.add(concat("blk.0.", module, ".bias"),
             {module == std::string("attn_v") ? 4u : 8u}, GgmlType::f32,
             counting_floats(module == std::string("attn_v") ? 4 : 8));
  }
  auto checkpoint = open(file);
  EXPECT_EQ(checkpoint->config()["tie_word_embeddings"], false);
  EXPECT_NE(checkpoint->find("lm_head.weight"), nullptr);
  EXPECT_FALSE(checkpoint->config().contains("attention_bias"));
  file.add("blk.0.attn_k.bias", {4}, GgmlType::f32, counting_floats(4));
  EXPECT_EQ(open(file)->config()["attention_bias"], true);
}

TEST_F(GgufCheckpointTest, TakesHeadSizesFromTheMetadata) {
  auto file = tiny_llama();
  file.set("llama.attention.key_length", std::uint32_t{4})
      .set("llama.attention.value_length", std::uint32_t{4})
      .set("llama.attention.head_count_kv", std::vector<std::int32_t>{1, 1});
  EXPECT_EQ(open(file)->config()["head_dim"], 4);
  file.set("llama.attention.value_length", std::uint32_t{8});
  EXPECT_THAT(error(file, ErrorCode::unsupported),
              HasSubstr("keys have 4 values a head, values 8"));
  EXPECT_THAT(error(tiny_llama()
                        .set("llama.attention.key_length", std::uint32_t{4})
                        .set("llama.rope.dimension_count", std::uint32_t{2}),
                    ErrorCode::unsupported),
              HasSubstr("rotary positions turn 2 of the 4 values"));
  EXPECT_THAT(
      error(tiny_llama().set("llama.attention.head_count", std::uint32_t{1}),
            ErrorCode::mismatch),
      HasSubstr("tensor blk.0.attn_q.weight has 8 rows, but the metadata say "
                "1 heads of 4"));
  EXPECT_THAT(error(tiny_llama().set("llama.attention.head_count_kv",
                                     std::vector<std::int32_t>{1, 2}),
                    ErrorCode::unsupported),
              HasSubstr("its layers differ in llama.attention.head_count_kv"));
}

TEST_F(GgufCheckpointTest, NamesMetadataThatAreMissingOrMakeNoSense) {
  for (const char* key :
       {"general.architecture", "llama.block_count", "llama.embedding_length",
        "llama.feed_forward_length", "llama.attention.head_count",
        "llama.attention.layer_norm_rms_epsilon"}) {
    EXPECT_THAT(error(tiny_llama().remove(key), ErrorCode::corrupt_file),
                HasSubstr(concat(key, " is missing")));
  }
  EXPECT_THAT(error(tiny_llama().set("llama.block_count", std::uint32_t{0}),
                    ErrorCode::corrupt_file),
              HasSubstr("llama.block_count is 0"));
  EXPECT_THAT(error(tiny_llama().set("llama.rope.freq_base", NAN),
                    ErrorCode::corrupt_file),
              HasSubstr("llama.rope.freq_base is nan"));
  EXPECT_THAT(error(tiny_llama().set("llama.vocab_size", std::uint32_t{7}),
                    ErrorCode::mismatch),
              HasSubstr("token_embd.weight has 6 rows, but llama.vocab_size "
                        "says 7"));
  EXPECT_THAT(error(tiny_llama().remove_tensor("token_embd.weight"),
                    ErrorCode::corrupt_file),
              HasSubstr("has no tensor token_embd.weight"));
}

TEST_F(GgufCheckpointTest, RefusesWhatItIsNotByName) {
  EXPECT_THAT(error(tiny_llama().set("general.architecture", "qwen2moe"),
                    ErrorCode::unsupported),
              HasSubstr("the architecture is \"qwen2moe\"; these can be read "
                        "from GGUF: llama, qwen2, qwen3, qwen3moe"));
  EXPECT_THAT(error(tiny_llama().set("general.type", "adapter"),
                    ErrorCode::unsupported),
              HasSubstr("holds a adapter"));
  EXPECT_THAT(error(tiny_llama().set("split.count", std::uint16_t{3}),
                    ErrorCode::unsupported),
              HasSubstr("is one part of a split GGUF file"));
  EXPECT_THAT(
      error(tiny_gguf("qwen2").set("qwen2.expert_count", std::uint32_t{8}),
            ErrorCode::unsupported),
      HasSubstr("is a qwen2, and a mixture of experts"));
  EXPECT_THAT(error(tiny_gguf("qwen3moe"), ErrorCode::unsupported),
              HasSubstr("is a qwen3moe that has no experts"));
  EXPECT_THAT(error(tiny_llama().add("blk.0.ffn_gate_exps.weight", {8, 8, 4},
                                     GgmlType::f32, counting_floats(256)),
                    ErrorCode::unsupported),
              HasSubstr("tensor blk.0.ffn_gate_exps.weight is not part of"));
  for (const char* name :
       {"blk.2.attn_v.weight", "blk.00.attn_v.weight", "blk.-1.attn_v.weight",
        "blk..attn_v.weight", "attn_v.weight", "blk.0.attn_v.scale", "odd"}) {
    EXPECT_THAT(error(tiny_llama().add(name, {8, 4}, GgmlType::f32,
                                       counting_floats(32)),
                      ErrorCode::unsupported),
                HasSubstr(concat("tensor ", name, " is not part of")));
  }
  const auto q8_k = static_cast<GgmlType>(15);
  EXPECT_THAT(error(tiny_llama().add("output.weight", {256, 6}, q8_k,
                                     std::string(std::size_t{6} * 292, 'x')),
                    ErrorCode::unsupported),
              HasSubstr("tensor output.weight is stored as Q8_K"));
}

TEST_F(GgufCheckpointTest, MentionsTensorsItLeavesOut) {
  const auto checkpoint = open(tiny_llama().add(
      "blk.0.attn_rot_embd.weight", {8}, GgmlType::f32, counting_floats(8)));
  EXPECT_THAT(checkpoint->notices(),
              ::testing::Contains("ignored tensor blk.0.attn_rot_embd.weight"));
}

TEST_F(GgufCheckpointTest, TellsLinearScaling) {
  const auto scaling = [&](const GgufBuilder& file) {
    return open(file)->config().value("rope_scaling", Json());
  };
  const Json expected = {{"rope_type", "linear"}, {"factor", 2.5}};
  auto file = tiny_llama().set("llama.rope.scaling.type", "linear");
  EXPECT_EQ(scaling(file.set("llama.rope.scaling.factor", 2.5f)), expected);
  EXPECT_EQ(scaling(tiny_llama().set("llama.rope.scale_linear", 2.5f)),
            expected);
  EXPECT_EQ(scaling(tiny_llama().set("llama.rope.scaling.type", "none")),
            Json());
  file.set("llama.rope.scaling.type", "longrope");
  EXPECT_THAT(error(file, ErrorCode::unsupported),
              HasSubstr("rotary positions are scaled by \"longrope\""));
}

TEST_F(GgufCheckpointTest, TellsYarn) {
  auto file = tiny_llama();
  file.set("llama.rope.scaling.type", "yarn")
      .set("llama.rope.scaling.factor", 4.0f);
  EXPECT_THAT(error(file, ErrorCode::corrupt_file),
              HasSubstr("scaling.original_context_length"));
  file.set("llama.rope.scaling.original_context_length", std::uint32_t{16});
  const Json expected = {{"rope_type", "yarn"},
                         {"factor", 4.0},
                         {"original_max_position_embeddings", 16}};
  EXPECT_EQ(open(file)->config()["rope_scaling"], expected);
  file.set("llama.rope.scaling.yarn_beta_fast", 8.0f);
  EXPECT_THAT(error(file, ErrorCode::unsupported),
              HasSubstr("varied by llama.rope.scaling.yarn_beta_fast"));
}

TEST_F(GgufCheckpointTest, KeepsTheRowsOfAQwen2AndItsBiases) {
  auto file = tiny_gguf("qwen2");
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* name : {"attn_q", "attn_k", "attn_v"}) {
      const std::uint64_t rows = name == std::string("attn_q") ? 8 : 4;
      file.add(concat("blk.", layer, ".", name, ".bias"), {rows}, GgmlType::f32,
               counting_floats(rows, 100));
    }
  }
  const auto checkpoint = open(file);
  const auto& config = checkpoint->config();
  EXPECT_EQ(config["model_type"], "qwen2");
  EXPECT_EQ(config["architectures"], Json({"Qwen2ForCausalLM"}));
  EXPECT_FALSE(config.contains("attention_bias"));
  const auto* q = checkpoint->find("model.layers.1.self_attn.q_proj.weight");
  const auto* bias = checkpoint->find("model.layers.1.self_attn.q_proj.bias");
  ASSERT_NE(q, nullptr);
  ASSERT_NE(bias, nullptr);
  const auto rows = checkpoint->load(*q).data;
  const auto biases = checkpoint->load(*bias).data;
  EXPECT_TRUE(
      mx::array_equal(mx::reshape(rows, {64}), mx::arange(0.0, 64.0, 1.0))
          .item<bool>());
  EXPECT_TRUE(
      mx::array_equal(biases, mx::arange(100.0, 108.0, 1.0)).item<bool>());
}

TEST_F(GgufCheckpointTest, FindsTheNormsOfAQwen3) {
  auto file = tiny_gguf("qwen3");
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* name : {"attn_q_norm", "attn_k_norm"}) {
      file.add(concat("blk.", layer, ".", name, ".weight"), {4}, GgmlType::f32,
               counting_floats(4));
    }
  }
  const auto checkpoint = open(file);
  EXPECT_EQ(checkpoint->config()["model_type"], "qwen3");
  EXPECT_EQ(checkpoint->config()["attention_bias"], false);
  const auto* norm = checkpoint->find("model.layers.1.self_attn.k_norm.weight");
  ASSERT_NE(norm, nullptr);
  EXPECT_EQ(norm->shape, (mx::Shape{4}));
}

TEST_F(GgufCheckpointTest, FindsTheExpertsOfAMixtral) {
  const auto checkpoint = open(tiny_gguf("llama", 3));
  const auto& config = checkpoint->config();
  EXPECT_EQ(config["model_type"], "mixtral");
  EXPECT_EQ(config["architectures"][0], "MixtralForCausalLM");
  EXPECT_EQ(config["num_local_experts"], 3);
  EXPECT_EQ(config["num_experts_per_tok"], 2);
  const std::string block = "model.layers.1.block_sparse_moe.";
  EXPECT_EQ(checkpoint->find(block + "gate.weight")->shape, (mx::Shape{3, 8}));
  const auto* down = checkpoint->find(block + "switch_mlp.down_proj.weight");
  ASSERT_NE(down, nullptr);
  EXPECT_EQ(down->shape, (mx::Shape{3, 8, 5}));
  EXPECT_TRUE(mx::array_equal(mx::flatten(checkpoint->load(*down).data),
                              mx::arange(0.0, 120.0, 1.0))
                  .item<bool>());
  EXPECT_NE(checkpoint->find(block + "switch_mlp.gate_proj.weight"), nullptr);
  EXPECT_NE(checkpoint->find(block + "switch_mlp.up_proj.weight"), nullptr);
}

TEST_F(GgufCheckpointTest, FindsTheExpertsOfAQwen3Moe) {
  const auto checkpoint = open(tiny_gguf("qwen3moe", 3));
  const auto& config = checkpoint->config();
  EXPECT_EQ(config["model_type"], "qwen3_moe");
  EXPECT_EQ(config["num_experts"], 3);
  EXPECT_EQ(config["num_experts_per_tok"], 2);
  EXPECT_EQ(config["moe_intermediate_size"], 5);
  EXPECT_EQ(config["norm_topk_prob"], true);
  const auto* up =
      checkpoint->find("model.layers.0.mlp.switch_mlp.up_proj.weight");
  ASSERT_NE(up, nullptr);
  EXPECT_EQ(up->shape, (mx::Shape{3, 5, 8}));
  EXPECT_NE(checkpoint->find("model.layers.0.mlp.gate.weight"), nullptr);
}

TEST_F(GgufCheckpointTest, RefusesExpertsOfOtherKinds) {
  EXPECT_THAT(error(tiny_gguf("llama", 3)
                        .set("llama.expert_gating_func", std::uint32_t{2}),
                    ErrorCode::unsupported),
              HasSubstr("other than a softmax"));
  EXPECT_THAT(error(tiny_gguf("qwen3moe", 3)
                        .set("qwen3moe.expert_shared_count", std::uint32_t{1}),
                    ErrorCode::unsupported),
              HasSubstr("experts that all tokens share"));
}

TEST_F(GgufCheckpointTest, RefusesWindowsOfLayersNotTold) {
  EXPECT_THAT(error(tiny_llama().set("llama.attention.sliding_window",
                                     std::uint32_t{4096}),
                    ErrorCode::unsupported),
              HasSubstr("its attention has a window"));
  open(tiny_llama().set("llama.attention.sliding_window", std::uint32_t{0}));
}

/// The divisors of Llama 3's scaling as converters compute them: float32
/// frequencies, then double.
std::string llama3_divisors(int head_dim, float theta, double factor) {
  std::string bytes;
  for (int i = 0; i < head_dim; i += 2) {
    const float exponent = static_cast<float>(i) / static_cast<float>(head_dim);
    const float frequency = 1.0f / std::pow(theta, exponent);
    const double wavelength = 2 * std::numbers::pi / frequency;
    double divisor = 1;
    if (wavelength > 8192) {
      divisor = factor;
    } else if (wavelength >= 2048) {
      const double smooth = (8192 / wavelength - 1) / 3;
      divisor = 1 / ((1 - smooth) / factor + smooth);
    }
    bytes += raw(static_cast<float>(divisor));
  }
  return bytes;
}

GgufBuilder with_heads_of_128() {
  auto file = tiny_llama();
  file.set("llama.attention.key_length", std::uint32_t{128})
      .set("llama.attention.value_length", std::uint32_t{128})
      .set("llama.rope.dimension_count", std::uint32_t{128})
      .set("llama.rope.freq_base", 500000.0f);
  for (int layer = 0; layer < 2; ++layer) {
    for (const char* name : {"attn_q", "attn_k"}) {
      file.remove_tensor(concat("blk.", layer, ".", name, ".weight"));
    }
  }
  return file;
}

TEST_F(GgufCheckpointTest, TellsTheScalingOfLlama3FromItsDivisors) {
  for (const double factor : {8.0, 32.0}) {
    auto file = with_heads_of_128();
    file.add("rope_freqs.weight", {64}, GgmlType::f32,
             llama3_divisors(128, 500000, factor));
    const Json expected = {{"rope_type", "llama3"},
                           {"factor", factor},
                           {"low_freq_factor", 1.0},
                           {"high_freq_factor", 4.0},
                           {"original_max_position_embeddings", 8192}};
    const auto checkpoint = open(file);
    EXPECT_EQ(checkpoint->config()["rope_scaling"], expected);
    EXPECT_EQ(checkpoint->find("rope_freqs.weight"), nullptr);
  }
}

TEST_F(GgufCheckpointTest, RefusesDivisorsOfAnotherKind) {
  auto divisors = llama3_divisors(128, 500000, 8);
  divisors.replace(124, 4, raw(1.5f));
  auto file = with_heads_of_128();
  file.add("rope_freqs.weight", {64}, GgmlType::f32, divisors);
  EXPECT_THAT(error(file, ErrorCode::unsupported),
              HasSubstr("divided by rope_freqs.weight in a way"));

  auto other_theta = with_heads_of_128();
  other_theta.set("llama.rope.freq_base", 10000.0f)
      .add("rope_freqs.weight", {64}, GgmlType::f32,
           llama3_divisors(128, 500000, 8));
  EXPECT_THAT(error(other_theta, ErrorCode::unsupported),
              HasSubstr("divided by rope_freqs.weight in a way"));

  EXPECT_THAT(error(tiny_llama().add("rope_freqs.weight", {3}, GgmlType::f32,
                                     counting_floats(3)),
                    ErrorCode::mismatch),
              HasSubstr("rope_freqs.weight should hold 2 F32 values"));
  const auto ones = open(tiny_llama().add("rope_freqs.weight", {2},
                                          GgmlType::f32, raw(1.f) + raw(1.f)));
  EXPECT_FALSE(ones->config().contains("rope_scaling"));
}

}  // namespace
}  // namespace llamlx
