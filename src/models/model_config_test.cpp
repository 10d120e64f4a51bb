#include "models/model_config.h"

#include <cmath>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
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
  std::string message;
  try {
    read_model_config(checkpoint);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, HasSubstr(expected));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("\n")));
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
        BadConfig{{{"rope_scaling", {{"type", "yarn"}}}}, "\"yarn\""}));

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

}  // namespace
}  // namespace llamlx
