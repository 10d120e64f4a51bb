#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>

#include "base/files.h"
#include "base/testing.h"
#include "convert/conversion_plan.h"
#include "convert/convert.h"
#include "convert/memory_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

Json config_of(const char* model_type) {
  auto config = RandomCheckpoint::tiny_config();
  config.update({{"model_type", model_type},
                 {"num_local_experts", 3},
                 {"num_experts_per_tok", 2},
                 {"moe_intermediate_size", 64}});
  return config;
}

/// Of a family, stacked or one by one.
class ConvertExpertsTest
    : public ::testing::TestWithParam<std::tuple<const char*, bool>> {
 protected:
  ConvertExpertsTest() : source_(config_of(std::get<0>(GetParam()))) {
    source_.is_apart = std::get<1>(GetParam());
    source_.cast_all(mx::bfloat16);
  }

  /// What MLX itself reads of what is written.
  std::unordered_map<std::string, mx::array> convert(
      const ConvertOptions& options) {
    result_ = convert_checkpoint(source_, target_, options, {});
    return mx::load_safetensors((target_ / "model.safetensors").string()).first;
  }

  testing::TemporaryFolder folder_;
  std::filesystem::path target_ = folder_.path() / "model";
  MemoryCheckpoint source_;
  ConvertResult result_;
};

bool are_equal(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
}

TEST_P(ConvertExpertsTest, KeepsDenseOnes) {
  const auto written = convert({});
  ASSERT_EQ(written.size(), source_.weights().size());
  for (const auto& info : source_.weights()) {
    EXPECT_TRUE(are_equal(written.at(info.name), source_.value(info.name)))
        << info.name;
  }
}

TEST_P(ConvertExpertsTest, CastsThem) {
  const auto written = convert({.dtype = "float16"});
  for (const auto& info : source_.weights()) {
    EXPECT_TRUE(are_equal(written.at(info.name),
                          mx::astype(source_.value(info.name), mx::float16)))
        << info.name;
  }
}

TEST_P(ConvertExpertsTest, QuantisesThemAsMlxDoesAndLeavesRoutersDense) {
  for (const char* mode : {"affine", "mxfp4", "mxfp8", "nvfp4"}) {
    ConvertOptions options{.quantize = true};
    options.mode = mode;
    if (options.mode == "affine") options.group_size = 32;
    const auto written = convert(options);
    const auto quantization = wanted_quantization(options);
    int packed = 0;
    for (const auto& info : source_.weights()) {
      const auto& values = source_.value(info.name);
      if (info.name.find(".gate.") != std::string::npos) {
        EXPECT_TRUE(are_equal(written.at(info.name), values)) << info.name;
      }
      if (info.shape.size() != 3) continue;
      const auto expected = quantize(values, quantization);
      const auto module = info.name.substr(0, info.name.rfind('.'));
      EXPECT_TRUE(are_equal(written.at(info.name), expected.data)) << info.name;
      EXPECT_TRUE(are_equal(written.at(module + ".scales"), *expected.scales));
      ++packed;
    }
    EXPECT_EQ(packed, 6);
    EXPECT_THAT(result_.notices, IsEmpty());
  }
}

TEST_P(ConvertExpertsTest, NpzHasNoNamesForThem) {
  const auto message = testing::error_of(ErrorCode::unsupported, [&] {
    convert({.layout = ModelLayout::seed, .quantize = true});
  });
  EXPECT_THAT(message, HasSubstr("have no names in the format npz"));
  EXPECT_FALSE(std::filesystem::exists(target_));
}

TEST_P(ConvertExpertsTest, ConfigSaysWhatMlxLmWantsToKnow) {
  source_.tensors.change_config({{"mlp_only_layers", nullptr}});
  convert({});
  const auto config = read_json_file(target_ / "config.json");
  EXPECT_EQ(config["num_experts_per_tok"], 2);
  EXPECT_EQ(config["num_local_experts"], 3);
  if (config["model_type"] == "mixtral") return;
  EXPECT_EQ(config["num_experts"], 3);
  EXPECT_EQ(config["moe_intermediate_size"], 64);
  EXPECT_EQ(config["norm_topk_prob"], false);
  EXPECT_EQ(config["decoder_sparse_step"], 1);
  EXPECT_EQ(config["mlp_only_layers"], Json::array());
}

INSTANTIATE_TEST_SUITE_P(Families, ConvertExpertsTest,
                         ::testing::Combine(::testing::Values("mixtral",
                                                              "qwen3_moe"),
                                            ::testing::Bool()),
                         [](const auto& test) {
                           return std::string(std::get<0>(test.param)) +
                                  (std::get<1>(test.param) ? "OneByOne"
                                                           : "Stacked");
                         });

}  // namespace
}  // namespace llamlx
