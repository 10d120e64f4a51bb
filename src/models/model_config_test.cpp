#include "models/model_config.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "models/config_testing.h"
#include "models/random_checkpoint.h"
#include "models/rope.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;

struct BadConfig {
  Json changes;
  const char* message;
};

class BadConfigTest : public ::testing::TestWithParam<BadConfig> {};

TEST_P(BadConfigTest, IsRefusedInOneLine) {
  auto [changes, expected] = GetParam();
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  checkpoint.change_config(changes);
  testing::expect_refused_config(checkpoint, expected);
}

INSTANTIATE_TEST_SUITE_P(
    Values, BadConfigTest,
    ::testing::Values(
        BadConfig{{{"model_type", "gpt2"}},
                  "\"gpt2\"; these can be run: llama"},
        BadConfig{{{"model_type", nullptr}}, "no \"model_type\""},
        BadConfig{{{"hidden_size", nullptr}}, "\"hidden_size\" is missing"},
        BadConfig{{{"hidden_size", 0}}, "\"hidden_size\" is 0"},
        BadConfig{{{"hidden_size", "32"}}, "should be a whole number"},
        BadConfig{{{"hidden_size", 3e9}}, "should be a whole number"},
        BadConfig{{{"hidden_size", 33}}, "not a multiple of 4"},
        BadConfig{{{"vocab_size", -1}}, "\"vocab_size\" is -1"},
        BadConfig{{{"num_hidden_layers", 1 << 20}}, "num_hidden_layers"},
        BadConfig{{{"num_key_value_heads", 3}}, "cannot share 3"},
        BadConfig{{{"head_dim", 7}}, "head_dim is 7"},
        BadConfig{{{"rms_norm_eps", -1}}, "rms_norm_eps"},
        BadConfig{{{"rope_theta", 0}}, "rope_theta"},
        BadConfig{{{"hidden_act", "gelu"}}, "hidden_act is \"gelu\""},
        BadConfig{{{"rope_scaling", "yes"}}, "not an object"},
        BadConfig{{{"sliding_window", 8}}, "which layers slide"},
        BadConfig{{{"partial_rotary_factor", 0.5}}, "\"partial_rotary_factor"},
        BadConfig{{{"layer_types", "full_attention"}}, "not a list of 2"},
        BadConfig{{{"layer_types", {"full_attention"}}}, "not a list of 2"},
        BadConfig{{{"layer_types", {"full_attention", 1}}}, "than names"},
        BadConfig{{{"layer_types", {"full_attention", "linear_attention"}}},
                  "\"linear_attention\"; layers of full"},
        BadConfig{{{"layer_types", {"full_attention", "sliding_attention"}}},
                  "no \"sliding_window\" is in force"}));

BadConfig bad_rope(Json object, const char* message) {
  return {{{"rope_scaling", std::move(object)}}, message};
}

INSTANTIATE_TEST_SUITE_P(
    Ropes, BadConfigTest,
    ::testing::Values(
        bad_rope({{"type", "longrope"}}, "by \"longrope\"; these kinds"),
        bad_rope({{"rope_type", "su"}, {"type", "linear"}}, "\"su\""),
        bad_rope({{"type", 3}}, "\"type\""),
        bad_rope({{"type", "linear"}}, "\"factor\" is missing"),
        bad_rope({{"type", "linear"}, {"factor", -2}}, "\"factor\" is -2"),
        bad_rope({{"type", "linear"}, {"factor", 1e300}}, "\"factor\" is"),
        bad_rope({{"type", "linear"}, {"factor", 1e-300}}, "\"factor\" is"),
        bad_rope({{"type", "llama3"}}, "\"factor\" is missing"),
        bad_rope({{"type", "llama3"}, {"factor", 8}, {"low_freq_factor", 4}},
                 "does not exceed"),
        bad_rope({{"type", "yarn"}}, "\"factor\" is missing"),
        bad_rope({{"type", "yarn"}, {"factor", nullptr}},
                 "\"max_position_embeddings\" is missing"),
        bad_rope({{"type", "yarn"}, {"factor", 4}, {"beta_fast", 0.5}},
                 "\"beta_fast\" is below"),
        bad_rope({{"type", "yarn"}, {"factor", 4}, {"rope_theta", 1}},
                 "\"rope_theta\" is 1"),
        bad_rope({{"type", "yarn"}, {"factor", 4}, {"attention_factor", 0}},
                 "\"attention_factor\" is 0"),
        bad_rope({{"type", "yarn"}, {"factor", 4}, {"truncate", "no"}},
                 "\"truncate\""),
        bad_rope({{"type", "yarn"},
                  {"factor", 4},
                  {"original_max_position_embeddings", 0}},
                 "\"original_max_position_embeddings\" is 0"),
        bad_rope({{"type", "dynamic"}, {"factor", 2}},
                 "\"max_position_embeddings\" is missing"),
        bad_rope({{"type", "default"}, {"partial_rotary_factor", 0.25}},
                 "\"partial_rotary_factor\" is 0.25"),
        bad_rope({{"mrope_section", {1, 2, 1}}}, "\"mrope_section\""),
        bad_rope({{"full_attention", {{"rope_type", "default"}}}},
                 "for \"full_attention\" by themselves")));

BadConfig bad_family(const char* model_type, Json changes,
                     const char* message) {
  changes["model_type"] = model_type;
  return {std::move(changes), message};
}

INSTANTIATE_TEST_SUITE_P(
    Families, BadConfigTest,
    ::testing::Values(
        bad_family("mistral", {{"sliding_window", 0}}, "sliding_window\" is 0"),
        bad_family("mistral", {{"sliding_window", -1}}, "\" is -1"),
        bad_family("mistral", {{"sliding_window", 1e10}}, "sliding_window"),
        bad_family("mistral", {{"sliding_window", "8"}}, "sliding_window"),
        bad_family("mistral", {{"attention_bias", true}},
                   "\"attention_bias\" is true"),
        bad_family("mistral", {{"mlp_bias", true}}, "\"mlp_bias\" is true"),
        bad_family("mistral",
                   {{"sliding_window", 8},
                    {"layer_types", {"full_attention", "sliding_attention"}}},
                   "differ from its \"sliding_window\""),
        bad_family("qwen2", {{"attention_bias", false}},
                   "\"attention_bias\" is false"),
        bad_family("qwen2", {{"mlp_bias", true}}, "\"mlp_bias\" is true"),
        bad_family("qwen2", {{"use_mrope", true}}, "\"use_mrope\" is true"),
        bad_family("qwen2", {{"use_sliding_window", 1}}, "use_sliding_window"),
        bad_family("qwen2",
                   {{"use_sliding_window", true}, {"max_window_layers", -1}},
                   "\"max_window_layers\" is -1"),
        bad_family("qwen2",
                   {{"sliding_window", 8},
                    {"layer_types", {"full_attention", "sliding_attention"}}},
                   "no \"sliding_window\" is in force"),
        bad_family("qwen3",
                   {{"use_sliding_window", true}, {"sliding_window", 0}},
                   "\"sliding_window\" is 0"),
        bad_family("qwen3", {{"head_dim", 0}}, "\"head_dim\" is 0"),
        bad_family("qwen3", {{"mlp_bias", true}}, "\"mlp_bias\" is true")));

/// The config of a model of `model_type`, with random tensors to go with it.
ModelConfig read(const char* model_type, const Json& changes = {}) {
  auto config = RandomCheckpoint::tiny_config();
  config["model_type"] = model_type;
  if (!changes.is_null()) config.update(changes);
  const RandomCheckpoint checkpoint(config);
  auto result = read_model_config(checkpoint);
  verify_tensors(result, checkpoint);
  return result;
}

TEST(ModelFamilyTest, MistralSlidesInAllLayersOrNone) {
  using Windows = std::vector<int>;
  EXPECT_EQ(read("mistral").layer_windows, (Windows{4096, 4096}));
  EXPECT_EQ(read("mistral", {{"sliding_window", nullptr}}).layer_windows,
            (Windows{0, 0}));
  EXPECT_EQ(read("mistral",
                 {{"sliding_window", 7},
                  {"layer_types", {"sliding_attention", "sliding_attention"}}})
                .layer_windows,
            (Windows{7, 7}));
}

TEST(ModelFamilyTest, LlamaSlidesWhereItsLayerTypesSaySo) {
  EXPECT_EQ(
      read("llama", {{"sliding_window", 7},
                     {"layer_types", {"sliding_attention", "full_attention"}}})
          .layer_windows,
      (std::vector<int>{7, 0}));
  EXPECT_EQ(read("llama", {{"sliding_window", nullptr}}).layer_windows,
            (std::vector<int>{0, 0}));
}

TEST(ModelFamilyTest, QwenSlidesFromALayerOnWhereItsWindowIsUsed) {
  using Windows = std::vector<int>;
  for (const char* type : {"qwen2", "qwen3"}) {
    const Json unused = {{"sliding_window", 9}, {"max_window_layers", 0}};
    EXPECT_EQ(read(type, unused).layer_windows, (Windows{0, 0}));
    auto used = unused;
    used["use_sliding_window"] = true;
    EXPECT_EQ(read(type, used).layer_windows, (Windows{9, 9}));
    used["max_window_layers"] = 1;
    EXPECT_EQ(read(type, used).layer_windows, (Windows{0, 9}));
    used["sliding_window"] = nullptr;
    EXPECT_EQ(read(type, used).layer_windows, (Windows{0, 0}));
    used.erase("sliding_window");
    EXPECT_EQ(read(type, used).layer_windows, (Windows{0, 4096}));
    used.erase("max_window_layers");
    EXPECT_EQ(read(type, used).layer_windows, (Windows{0, 0}));
    used["layer_types"] = {"sliding_attention", "full_attention"};
    EXPECT_EQ(read(type, used).layer_windows, (Windows{4096, 0}));
  }
}

TEST(ModelFamilyTest, BiasesAndNormsAreThoseOfTheFamily) {
  const auto qwen2 = read("qwen2");
  EXPECT_TRUE(qwen2.qkv_bias);
  EXPECT_FALSE(qwen2.o_bias);
  EXPECT_FALSE(qwen2.qk_norm);
  EXPECT_EQ(qwen2.head_dim, 8);
  const auto qwen3 = read("qwen3");
  EXPECT_FALSE(qwen3.qkv_bias);
  EXPECT_TRUE(qwen3.qk_norm);
  EXPECT_EQ(qwen3.head_dim, 128);
  EXPECT_TRUE(read("qwen3", {{"attention_bias", true}}).o_bias);
}

TEST(ModelFamilyTest, AQwen2WithoutItsBiasesIsRefused) {
  RandomCheckpoint checkpoint(RandomCheckpoint::tiny_config());
  checkpoint.change_config({{"model_type", "qwen2"}});
  const auto message = testing::error_of(ErrorCode::mismatch, [&] {
    verify_tensors(read_model_config(checkpoint), checkpoint);
  });
  EXPECT_THAT(message, HasSubstr("q_proj.bias is missing"));
}

TEST(ModelConfigTest, ScalingStretchesTheContext) {
  const auto context = [](const Json& rope, int stated = 64) {
    return read("llama",
                {{"max_position_embeddings", stated}, {"rope_scaling", rope}})
        .context_length();
  };
  EXPECT_EQ(read("llama").context_length(), 0);
  EXPECT_EQ(context(nullptr), 64);
  EXPECT_EQ(context({{"type", "linear"}, {"factor", 2.5}}), 160);
  EXPECT_EQ(context({{"type", "dynamic"}, {"factor", 2}}), 128);
  EXPECT_EQ(context({{"type", "dynamic"}, {"factor", 1e30}}), 1 << 30);
  // Llama 3.1's config speaks of the stretched context; yarn's does or not.
  const Json llama3 = {{"type", "llama3"},
                       {"factor", 8},
                       {"original_max_position_embeddings", 8}};
  EXPECT_EQ(context(llama3), 64);
  auto yarn = llama3;
  yarn["type"] = "yarn";
  EXPECT_EQ(context(yarn), 64);
  EXPECT_EQ(context(yarn, 8), 64);
}

TEST(ModelConfigTest, SettlesOpenQuestionsByTheTensorsPresent) {
  auto config = RandomCheckpoint::tiny_config();
  config.update({{"attention_bias", true}, {"mlp_bias", true}});
  RandomCheckpoint checkpoint(config);
  for (const char* key :
       {"attention_bias", "mlp_bias", "tie_word_embeddings"}) {
    config.erase(key);
  }
  RandomCheckpoint open(config);
  for (const auto& info : checkpoint.weights()) {
    open.put(info.name, checkpoint.load(info).data);
  }
  const auto result = read_model_config(open);
  EXPECT_TRUE(result.qkv_bias);
  EXPECT_TRUE(result.o_bias);
  EXPECT_TRUE(result.mlp_bias);
  EXPECT_FALSE(result.tie_word_embeddings);
  open.erase("lm_head.weight");
  EXPECT_TRUE(read_model_config(open).tie_word_embeddings);
}

TEST(VerifyTensorsTest, NamesTheTensorThatIsWrong) {
  const auto message = [](const RandomCheckpoint& checkpoint) {
    return testing::error_of(ErrorCode::mismatch, [&] {
      verify_tensors(read_model_config(checkpoint), checkpoint);
    });
  };
  RandomCheckpoint missing(RandomCheckpoint::tiny_config());
  missing.erase("model.layers.1.mlp.up_proj.weight");
  EXPECT_THAT(message(missing),
              HasSubstr("model.layers.1.mlp.up_proj.weight is missing"));
  RandomCheckpoint wrong(RandomCheckpoint::tiny_config());
  wrong.put("model.norm.weight", mx::zeros({31}));
  EXPECT_THAT(message(wrong),
              HasSubstr("model.norm.weight should have shape [32] by the "
                        "config, got [31]"));
  RandomCheckpoint extra(RandomCheckpoint::tiny_config());
  extra.put("model.layers.2.input_layernorm.weight", mx::zeros({32}));
  EXPECT_THAT(message(extra), HasSubstr("model.layers.2.input_layernorm"));
}

TEST(RopeConfigTest, OlderSpellingCountsWhereBothAre) {
  const auto rope = read_rope_config(
      {{"rope_theta", 500.0},
       {"rope_scaling", {{"type", "linear"}, {"factor", 3.0}}},
       {"rope_parameters", {{"rope_theta", 9.0}, {"rope_type", "default"}}}},
      "config");
  EXPECT_EQ(rope.theta, 500);
  EXPECT_EQ(rope.factor, 3);
  const auto empty = read_rope_config(
      {{"rope_scaling", Json::object()},
       {"rope_parameters", {{"rope_theta", 9.0}, {"rope_type", "default"}}}},
      "config");
  EXPECT_EQ(empty.theta, 9);
}

TEST(RopeConfigTest, FindsTheOriginalContextInEitherPlace) {
  const auto context = [](const Json& beside, const Json& inside) {
    Json config = {{"max_position_embeddings", 4096},
                   {"original_max_position_embeddings", beside},
                   {"rope_scaling",
                    {{"type", "yarn"},
                     {"factor", nullptr},
                     {"original_max_position_embeddings", inside}}}};
    return read_rope_config(config, "config");
  };
  EXPECT_EQ(context(nullptr, 1024).original_context, 1024);
  EXPECT_EQ(context(nullptr, 1024).factor, 4);
  EXPECT_EQ(context(512, 1024).original_context, 512);
  EXPECT_EQ(context(512, nullptr).factor, 8);
  EXPECT_EQ(context(nullptr, nullptr).original_context, 4096);
}

TEST(RopeConfigTest, InfersTheAttentionFactorOfYarn) {
  const auto factor = [](const Json& more) {
    Json object = {{"type", "yarn"}, {"factor", 16.0}};
    object.update(more);
    return read_rope_config({{"rope_scaling", object}}, "config")
        .attention_factor;
  };
  const double whole = 0.1 * std::log(16.0);
  EXPECT_FLOAT_EQ(factor(Json::object()), 1 + whole);
  EXPECT_FLOAT_EQ(factor({{"attention_factor", 0.7}}), 0.7);
  EXPECT_FLOAT_EQ(factor({{"mscale", 0.5}}), 1 + whole);
  EXPECT_FLOAT_EQ(factor({{"mscale", 0.5}, {"mscale_all_dim", 2}}),
                  (1 + 0.5 * whole) / (1 + 2 * whole));
  EXPECT_FLOAT_EQ(factor({{"factor", 0.5}}), 1);
}

TEST(RopeConfigTest, ReadsBothSpellings) {
  const auto old_spelling = read_rope_config(
      {{"rope_theta", 500000.0},
       {"rope_scaling", {{"type", "linear"}, {"factor", 2.0}}}},
      "config");
  const auto new_spelling = read_rope_config(
      {{"rope_parameters",
        {{"rope_theta", 500000.0}, {"rope_type", "linear"}, {"factor", 2.0}}}},
      "config");
  for (const auto& rope : {old_spelling, new_spelling}) {
    EXPECT_EQ(rope.theta, 500000);
    EXPECT_EQ(rope.scaling, RopeConfig::Scaling::linear);
    EXPECT_EQ(rope.factor, 2);
  }
}

TEST(RopePeriodsTest, Llama3StretchesLongWavesOnly) {
  RopeConfig plain{.theta = 500000};
  RopeConfig scaled = plain;
  scaled.scaling = RopeConfig::Scaling::llama3;
  scaled.factor = 8;
  const auto before = rope_periods(plain, 128);
  const auto after = rope_periods(scaled, 128);
  EXPECT_EQ(after.front(), before.front());
  EXPECT_NEAR(after.back() / before.back(), 8, 1e-5);
  EXPECT_FLOAT_EQ(before[1], std::pow(500000.0f, 2.0f / 128));
}

TEST(RopePeriodsTest, YarnKeepsFastPairsAndStretchesSlowOnes) {
  const RopeConfig plain{.theta = 10000};
  const RopeConfig scaled{.theta = 10000,
                          .scaling = RopeConfig::Scaling::yarn,
                          .factor = 4,
                          .original_context = 4096};
  const auto before = rope_periods(plain, 128);
  const auto after = rope_periods(scaled, 128);
  // 32 turns and one turn in 4096 positions: between pairs 20.9 and 45.03.
  EXPECT_EQ(after[20], before[20]);
  EXPECT_GT(after[21], before[21]);
  EXPECT_LT(after[45] / before[45], 3.99);
  EXPECT_NEAR(after[46] / before[46], 4, 1e-5);
}

TEST(RopePeriodsTest, DynamicStretchesBeyondTheContextAlone) {
  const RopeConfig plain{.theta = 10000};
  const RopeConfig scaled{.theta = 10000,
                          .scaling = RopeConfig::Scaling::dynamic,
                          .factor = 2,
                          .original_context = 64};
  EXPECT_EQ(rope_periods(scaled, 32, 1), rope_periods(plain, 32));
  EXPECT_EQ(rope_periods(scaled, 32, 64), rope_periods(plain, 32));
  // Twice the context at a factor of two stretches the longest wave by three.
  const auto doubled = rope_periods(scaled, 32, 128);
  EXPECT_NEAR(doubled.back() / rope_periods(plain, 32).back(), 3, 1e-5);
  EXPECT_EQ(doubled.front(), 1);
}

}  // namespace
}  // namespace llamlx
