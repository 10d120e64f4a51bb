#include "kernels/cuda/cuda_kernels.h"

#include <gmock/gmock.h>

#include "cuda/modules.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;
using ::testing::StartsWith;

CudaDeviceInfo gpu_of(int compute_capability) {
  CudaDeviceInfo info;
  info.compute_capability = compute_capability;
  return info;
}

TEST(CudaKernelChoiceTest, IsByMmaWhereThereAreNoWarpgroups) {
  for (const int capability : {80, 89, 100, 120}) {
    const auto choice = cuda_kernel_choice(gpu_of(capability), mx::bfloat16);
    EXPECT_EQ(choice.few_rows, "some_rows");
    EXPECT_EQ(choice.many_rows, "many_rows");
    EXPECT_THAT(choice.why, HasSubstr("mma"));
  }
  EXPECT_THAT(
      to_string(cuda_kernel_choice(gpu_of(89), mx::float16)),
      HasSubstr("few_rows for one row, some_rows for few, many_rows for "
                "many: mma, as compute capability 8.9"));
}

TEST(CudaKernelChoiceTest, IsByWarpgroupsWhereGpuAndBuildHaveThem) {
  const auto choice = cuda_kernel_choice(gpu_of(90), mx::bfloat16);
  if (has_warpgroups(gpu_of(90))) {
    EXPECT_EQ(choice.many_rows, "many_rows_hopper");
    EXPECT_THAT(choice.why, HasSubstr("wgmma"));
  } else {
    EXPECT_EQ(choice.many_rows, "many_rows");
    EXPECT_THAT(choice.why, HasSubstr("this build"));
  }
}

TEST(CudaKernelChoiceTest, DecodesByOneKernelWhereBlocksAreFed) {
  for (const int capability : {90, 100, 120}) {
    EXPECT_EQ(cuda_kernel_choice(gpu_of(capability), mx::float16).one_row,
              "decode");
  }
  EXPECT_EQ(cuda_kernel_choice(gpu_of(86), mx::float16).one_row, "few_rows");
}

TEST(CudaKernelChoiceTest, KeepsTheDigitsOfFloat32) {
  const auto choice = cuda_kernel_choice(gpu_of(90), mx::float32);
  EXPECT_EQ(choice.one_row, "few_rows");
  EXPECT_EQ(choice.many_rows, "some_rows");
  EXPECT_THAT(choice.why, HasSubstr("float32"));
}

TEST(CudaKernelChoiceTest, HasOthersForExperts) {
  const auto choice = cuda_kernel_choice(gpu_of(90), mx::bfloat16, true);
  EXPECT_THAT(choice.one_row, StartsWith("few_rows"));
  EXPECT_EQ(choice.experts, "experts_some, experts_many");
  EXPECT_THAT(to_string(choice), HasSubstr("; experts by experts_some"));
  EXPECT_EQ(cuda_kernel_choice(gpu_of(90), mx::bfloat16).experts, "");
}

}  // namespace
}  // namespace llamlx
