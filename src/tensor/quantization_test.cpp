#include "tensor/quantization.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

constexpr auto kMxfp4 = QuantizationMode::mxfp4;

TEST(QuantizationTest, ModesAreCalledAsMlxCallsThem) {
  for (const auto* name : {"affine", "mxfp4", "mxfp8", "nvfp4"}) {
    const auto mode = quantization_mode(name);
    ASSERT_TRUE(mode) << name;
    EXPECT_EQ(to_string(*mode), name);
    EXPECT_EQ(default_quantization(*mode).mode, *mode);
    EXPECT_TRUE(is_supported(default_quantization(*mode)));
  }
  EXPECT_FALSE(quantization_mode("mxfp6"));
  EXPECT_FALSE(quantization_mode(""));
}

TEST(QuantizationTest, AffineModeHasManyForms) {
  for (const int bits : {2, 3, 4, 5, 6, 8}) {
    for (const int group_size : {32, 64, 128}) {
      EXPECT_TRUE(is_supported({bits, group_size})) << bits << group_size;
    }
  }
  EXPECT_FALSE(is_supported({7, 64}));
  EXPECT_FALSE(is_supported({1, 64}));
  EXPECT_FALSE(is_supported({4, 16}));
}

TEST(QuantizationTest, OtherModesHaveOneFormEach) {
  EXPECT_TRUE(is_supported({4, 32, kMxfp4}));
  EXPECT_FALSE(is_supported({4, 64, kMxfp4}));
  EXPECT_FALSE(is_supported({8, 32, kMxfp4}));
  EXPECT_TRUE(is_supported({8, 32, QuantizationMode::mxfp8}));
  EXPECT_TRUE(is_supported({4, 16, QuantizationMode::nvfp4}));
  EXPECT_FALSE(is_supported({4, 32, QuantizationMode::nvfp4}));
  EXPECT_EQ(what_is_supported(kMxfp4), "mxfp4 takes 4 bits in groups of 32");
}

TEST(QuantizationTest, IsToldInALine) {
  EXPECT_EQ(to_string(Quantization{}), "affine 4-bit, group 64");
  EXPECT_EQ(to_string(Quantization{4, 32, kMxfp4}), "mxfp4 4-bit, group 32");
}

}  // namespace
}  // namespace llamlx
