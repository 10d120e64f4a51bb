#include "convert/conversion_plan.h"

#include <algorithm>
#include <stdexcept>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "convert/memory_checkpoint.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr const char* kNorm = "model.norm.weight";
constexpr const char* kEmbed = "model.embed_tokens.weight";
constexpr const char* kDown = "model.layers.0.mlp.down_proj.weight";

ConversionPlan plan_for(const Checkpoint& checkpoint,
                        const ConvertOptions& options) {
  return plan_conversion(checkpoint, read_model_config(checkpoint), options);
}

const PlannedWeight& planned(const ConversionPlan& plan,
                             const std::string& name) {
  const auto found = std::ranges::find_if(
      plan.weights,
      [&](const PlannedWeight& weight) { return weight.source.name == name; });
  if (found == plan.weights.end()) throw std::out_of_range(name);
  return *found;
}

TEST(ConversionPlanTest, KeepsEverythingWithoutOptions) {
  MemoryCheckpoint source;
  source.tensors.quantize_all({8, 32});
  source.tensors.put(kNorm, mx::ones({32}, mx::float16));
  const auto plan = plan_for(source, {});
  EXPECT_TRUE(std::ranges::all_of(plan.weights, &PlannedWeight::is_kept));
  EXPECT_EQ(planned(plan, kEmbed).quantization, (Quantization{8, 32}));
  EXPECT_EQ(planned(plan, kEmbed).dtype, mx::float32);
  EXPECT_EQ(planned(plan, kNorm).dtype, mx::float16);
}

TEST(ConversionPlanTest, ADtypeExpandsQuantisedSources) {
  MemoryCheckpoint source;
  source.tensors.quantize_all({4, 32});
  const auto plan = plan_for(source, {.dtype = "float16"});
  for (const auto& weight : plan.weights) {
    EXPECT_FALSE(weight.quantization) << weight.source.name;
    EXPECT_EQ(weight.dtype, mx::float16) << weight.source.name;
    EXPECT_FALSE(weight.is_kept) << weight.source.name;
  }
}

TEST(ConversionPlanTest, ADtypeTheSourceHasChangesNothing) {
  const MemoryCheckpoint source;
  const auto plan = plan_for(source, {.dtype = "float32"});
  EXPECT_TRUE(std::ranges::all_of(plan.weights, &PlannedWeight::is_kept));
}

TEST(ConversionPlanTest, QuantisesLinearsAndEmbeddingsAndCastsTheRest) {
  MemoryCheckpoint source;
  source.cast_all(mx::float16);
  source.tensors.put(kNorm, mx::ones({32}));
  const auto plan =
      plan_for(source, {.quantize = true, .bits = 3, .group_size = 32});
  for (const auto& weight : plan.weights) {
    EXPECT_EQ(weight.dtype, mx::float16) << weight.source.name;
    EXPECT_EQ(weight.quantization.has_value(), weight.source.shape.size() == 2)
        << weight.source.name;
  }
  EXPECT_EQ(planned(plan, "lm_head.weight").quantization,
            (Quantization{3, 32}));
  EXPECT_THAT(plan.notices, IsEmpty());
}

TEST(ConversionPlanTest, AQuantisedGgufIsQuantisedAnewInBfloat16) {
  MemoryCheckpoint source;
  source.tensors.quantize_all({4, 32});
  const ConvertOptions options = {.quantize = true, .group_size = 32};
  EXPECT_EQ(planned(plan_for(source, options), kNorm).dtype, mx::float32);
  source.kind = "gguf";
  const auto plan = plan_for(source, options);
  EXPECT_EQ(planned(plan, kNorm).dtype, mx::bfloat16);
  EXPECT_FALSE(planned(plan, kEmbed).is_kept);
}

TEST(ConversionPlanTest, TellsWhichWeightsStayDenseAndWhy) {
  MemoryCheckpoint source;  // hidden size 32, intermediate size 64
  const auto plan = plan_for(source, {.quantize = true, .group_size = 64});
  EXPECT_TRUE(planned(plan, kDown).quantization);
  EXPECT_FALSE(planned(plan, kEmbed).quantization);
  ASSERT_EQ(plan.notices.size(), 1u);
  EXPECT_EQ(plan.notices[0],
            "lm_head.weight and 13 more weights stay float32: groups of 64 do "
            "not divide a last axis of 32");
}

TEST(ConversionPlanTest, CountsWhatItWillWrite) {
  const MemoryCheckpoint source;
  const auto dense = plan_for(source, {});
  // Embedding and head; per layer four projections, three of the MLP, norms.
  const int layer = 2 * 32 * 32 + 2 * 16 * 32 + 3 * 64 * 32 + 2 * 32;
  EXPECT_EQ(dense.parameters, 2 * 32 * 32 + 2 * layer + 32);
  EXPECT_EQ(dense.weight_bytes, 4u * dense.parameters);
  const auto packed =
      plan_for(source, {.quantize = true, .bits = 4, .group_size = 32});
  const auto norms = 5u * 32;
  const auto weights = static_cast<std::uint64_t>(packed.parameters) - norms;
  EXPECT_EQ(packed.weight_bytes, 4 * norms + weights / 2 + weights / 32 * 8);
}

TEST(ConversionPlanTest, AModeHasItsOwnSizes) {
  const MemoryCheckpoint source;
  const auto wanted = [&](const char* mode) {
    const auto plan = plan_for(source, {.quantize = true, .mode = mode});
    return planned(plan, kDown).quantization;
  };
  EXPECT_EQ(wanted("affine"), (Quantization{4, 64}));
  EXPECT_EQ(wanted("mxfp4"), (Quantization{4, 32, QuantizationMode::mxfp4}));
  EXPECT_EQ(wanted("mxfp8"), (Quantization{8, 32, QuantizationMode::mxfp8}));
  EXPECT_EQ(wanted("nvfp4"), (Quantization{4, 16, QuantizationMode::nvfp4}));
}

TEST(ConversionPlanTest, RefusesWhatAModeDoesNotHave) {
  const auto refusal = [](const ConvertOptions& options) -> std::string {
    try {
      check_options(options);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return {};
  };
  EXPECT_EQ(refusal({.quantize = true, .mode = "mxfp8", .group_size = 32}), "");
  EXPECT_EQ(refusal({.quantize = true, .mode = "mxfp4", .bits = 8}),
            "mxfp4 takes 4 bits in groups of 32, not 8 bits in groups of 32");
  EXPECT_THAT(refusal({.quantize = true, .mode = "nvfp4", .group_size = 32}),
              HasSubstr("groups of 16, not 4 bits in groups of 32"));
  EXPECT_THAT(refusal({.quantize = true, .group_size = 16}),
              HasSubstr("affine takes 2, 3, 4, 5, 6 or 8 bits"));
  EXPECT_THAT(refusal({.quantize = true, .mode = "mxfp6"}),
              HasSubstr("\"mxfp6\" is not one of"));
}

TEST(ConversionPlanTest, BytesAreScalesWithoutBiases) {
  const PlannedWeight weight = {{"lm_head.weight", {10, 128}, mx::float32},
                                mx::bfloat16,
                                Quantization{4, 16, QuantizationMode::nvfp4}};
  const auto tensors = planned_tensors(weight);
  ASSERT_EQ(tensors.size(), 2u);
  EXPECT_EQ(tensors[0].name, "lm_head.scales");
  EXPECT_EQ(tensors[0].dtype, mx::uint8);
  EXPECT_THAT(tensors[0].shape, ElementsAre(10, 8));
  EXPECT_EQ(tensors[1].name, "lm_head.weight");
  EXPECT_THAT(tensors[1].shape, ElementsAre(10, 16));
}

TEST(ConversionPlanTest, NamesThePartsOfAQuantisedWeight) {
  const PlannedWeight weight = {{"lm_head.weight", {10, 128}, mx::float32},
                                mx::bfloat16,
                                Quantization{3, 64}};
  const auto tensors = planned_tensors(weight);
  ASSERT_EQ(tensors.size(), 3u);
  EXPECT_EQ(tensors[0].name, "lm_head.biases");
  EXPECT_EQ(tensors[1].name, "lm_head.scales");
  EXPECT_EQ(tensors[2].name, "lm_head.weight");
  EXPECT_THAT(tensors[1].shape, ElementsAre(10, 2));
  EXPECT_THAT(tensors[2].shape, ElementsAre(10, 12));
  EXPECT_EQ(tensors[0].dtype, mx::bfloat16);
  EXPECT_EQ(tensors[2].dtype, mx::uint32);
}

TEST(ConversionPlanTest, LeavesOutAHeadThatTiedEmbeddingsReplace) {
  MemoryCheckpoint source;
  source.tensors.change_config({{"tie_word_embeddings", true}});
  const auto plan = plan_for(source, {});
  EXPECT_THROW(planned(plan, "lm_head.weight"), std::out_of_range);
  EXPECT_THAT(plan.notices,
              ElementsAre("lm_head.weight is left out: the model does not use "
                          "it"));
}

TEST(ConversionPlanTest, RefusesTensorsThatAreNotTheModels) {
  MemoryCheckpoint source;
  source.tensors.erase(kDown);
  const auto message =
      error_of(ErrorCode::mismatch, [&] { plan_for(source, {}); });
  EXPECT_THAT(message, HasSubstr(kDown));
}

TEST(ConversionPlanTest, RefusesValuesThatAreNoFloats) {
  MemoryCheckpoint source;
  source.tensors.put(kNorm, mx::ones({32}, mx::int32));
  const auto message =
      error_of(ErrorCode::unsupported, [&] { plan_for(source, {}); });
  EXPECT_THAT(message, HasSubstr(kNorm));
}

TEST(ConversionPlanTest, RefusesOptionsOutOfRange) {
  for (const int bits : {-1, 0, 1, 7, 9, 16}) {
    EXPECT_THROW(check_options({.quantize = true, .bits = bits}),
                 std::invalid_argument);
  }
  for (const int group_size : {-32, 0, 16, 48, 256}) {
    EXPECT_THROW(check_options({.quantize = true, .group_size = group_size}),
                 std::invalid_argument);
  }
  EXPECT_THROW(check_options({.dtype = "float64"}), std::invalid_argument);
  EXPECT_NO_THROW(check_options({.quantize = true, .bits = 5}));
}

}  // namespace
}  // namespace llamlx
