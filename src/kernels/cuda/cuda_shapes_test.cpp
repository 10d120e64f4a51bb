#include "kernels/cuda/cuda_shapes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::HasSubstr;

TEST(CudaShapes, OfUsualModelsAreTaken) {
  EXPECT_EQ(cuda_objection({64, 0, {576, 1536}}), "");
  EXPECT_EQ(cuda_objection({96, 8, {3072, 8192}}), "");
  EXPECT_EQ(cuda_objection({256, 1024, {4}}), "");
}

TEST(CudaShapes, OthersAreToldWhy) {
  EXPECT_THAT(cuda_objection({12}), HasSubstr("not 12"));
  EXPECT_THAT(cuda_objection({264}), HasSubstr("not 264"));
  EXPECT_THAT(cuda_objection({64, 1025}), HasSubstr("experts, not 1025"));
  EXPECT_THAT(cuda_objection({64, 0, {64, 66}}), HasSubstr("not 66"));
}

}  // namespace
}  // namespace llamlx
