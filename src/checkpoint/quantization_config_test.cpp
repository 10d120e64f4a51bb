#include "checkpoint/quantization_config.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

Quantization of(const std::string& config, const std::string& module = "m") {
  const auto json = parse_json_object(config, "config.json");
  return QuantizationConfig(json, "config.json").of(module);
}

std::string refusal(ErrorCode code, const std::string& config) {
  return error_of(code, [&] { of(config); });
}

TEST(QuantizationConfigTest, TheSettingsHoldForAllModules) {
  const auto expected = Quantization{.bits = 8, .group_size = 32};
  EXPECT_EQ(of(R"({"quantization": {"group_size": 32, "bits": 8}})"), expected);
  EXPECT_EQ(of(R"({"quantization_config": {"group_size": 32, "bits": 8,
                                           "mode": "affine"}})"),
            expected);
  EXPECT_EQ(of(R"({"quantization": {"group_size": 32, "bits": 8},
                   "quantization_config": {"quant_method": "other"}})"),
            expected);
}

TEST(QuantizationConfigTest, AModulesOwnSettingsComeFirst) {
  const std::string config = R"({"quantization": {
      "group_size": 64, "bits": 2,
      "own": {"group_size": 128, "bits": 6},
      "partly": {"bits": 8},
      "as_all": true}})";
  EXPECT_EQ(of(config, "own"), (Quantization{.bits = 6, .group_size = 128}));
  EXPECT_EQ(of(config, "partly"), (Quantization{.bits = 8, .group_size = 64}));
  EXPECT_EQ(of(config, "as_all"), (Quantization{.bits = 2, .group_size = 64}));
  EXPECT_EQ(of(config, "other"), (Quantization{.bits = 2, .group_size = 64}));
}

TEST(QuantizationConfigTest, OtherSchemesAreNamed) {
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization_config": {"quant_method": "gptq",
                          "bits": 4, "group_size": 128}})"),
              HasSubstr("config.json: the weights are quantised by gptq"));
}

TEST(QuantizationConfigTest, ModesAreReadForAllAndForOne) {
  const std::string config = R"({"quantization": {
      "group_size": 32, "bits": 4, "mode": "mxfp4",
      "own": {"mode": "nvfp4"},
      "whole": {"group_size": 32, "bits": 8, "mode": "mxfp8"},
      "affine": {"bits": 8},
      "as_all": true}})";
  const auto of_mode = [](QuantizationMode mode) {
    return default_quantization(mode);
  };
  EXPECT_EQ(of(config, "other"), of_mode(QuantizationMode::mxfp4));
  EXPECT_EQ(of(config, "as_all"), of_mode(QuantizationMode::mxfp4));
  EXPECT_EQ(of(config, "own"), of_mode(QuantizationMode::nvfp4));
  EXPECT_EQ(of(config, "whole"), of_mode(QuantizationMode::mxfp8));
  EXPECT_EQ(of(config, "affine"), (Quantization{8, 64}));
}

TEST(QuantizationConfigTest, UnknownModesAreNamed) {
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 32, "bits": 6,
                                           "mode": "mxfp6"}})"),
              HasSubstr("in the mode mxfp6; llamlx reads"));
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 64, "bits": 4,
                          "m": {"bits": 4, "mode": "int4"}}})"),
              HasSubstr("in the mode int4"));
}

TEST(QuantizationConfigTest, AModeHasNoOtherForms) {
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 64, "bits": 4,
                                           "mode": "mxfp4"}})"),
              HasSubstr("4 bits in groups of 64; mxfp4 takes 4 bits in groups "
                        "of 32"));
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 64, "bits": 4,
                          "m": {"group_size": 32, "mode": "nvfp4"}}})"),
              HasSubstr("nvfp4 takes 4 bits in groups of 16"));
}

TEST(QuantizationConfigTest, PairsWithoutAKernelAreRefused) {
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 64, "bits": 7}})"),
              HasSubstr("7 bits in groups of 64"));
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      R"({"quantization": {"group_size": 0, "bits": 4}})"),
              HasSubstr("4 bits in groups of 0"));
}

TEST(QuantizationConfigTest, ContradictionsAndGapsAreTold) {
  EXPECT_THAT(refusal(ErrorCode::mismatch, "{}"),
              HasSubstr("there is no \"quantization\""));
  EXPECT_THAT(refusal(ErrorCode::mismatch, R"({"quantization": null})"),
              HasSubstr("there is no \"quantization\""));
  EXPECT_THAT(refusal(ErrorCode::mismatch,
                      R"({"quantization": {"group_size": 64, "bits": 4,
                                           "m": false}})"),
              HasSubstr("says that m is not quantised"));
  EXPECT_THAT(
      refusal(ErrorCode::corrupt_file, R"({"quantization": {"bits": 4}})"),
      HasSubstr("does not say \"group_size\""));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, R"({"quantization": 4})"),
              HasSubstr("\"quantization\" is not an object"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file,
                      R"({"quantization": {"group_size": 64, "bits": "4"}})"),
              HasSubstr("\"bits\" should be a whole number"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file,
                      R"({"quantization": {"group_size": 64, "bits": 4,
                                           "m": 8}})"),
              HasSubstr("the quantisation of m is neither"));
}

TEST(QuantizationConfigTest, AnUnquantisedModelNeedsNoSettings) {
  EXPECT_NO_THROW(QuantizationConfig(Json::object(), "config.json"));
}

}  // namespace
}  // namespace llamlx
