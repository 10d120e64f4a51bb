#include "generate/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "cuda/device.h"

namespace llamlx {
namespace {

TEST(ResolveBackendTest, RefusesCachesOf8BitsWhereThereAreNone) {
  for (const auto processor : {Processor::cpu, Processor::mlx}) {
    const auto message = testing::error_of(ErrorCode::unsupported, [&] {
      resolve_backend(processor, mx::float32, 1, 8);
    });
    EXPECT_THAT(message, ::testing::StartsWith("--kv-bits 8: "));
    EXPECT_THAT(message, ::testing::HasSubstr("--device gpu"));
    EXPECT_THROW(resolve_backend(processor, mx::float32, 1, 4),
                 std::invalid_argument);
  }
}

/// Where heads have 12 numbers, which our kernels for GPUs do not take.
const std::filesystem::path kOddHeads =
    LLAMLX_TEST_DATA "/tiny/mistral_window_reached";

// Where there is a GPU, or one that is emulated, it is the reason.
TEST(LoadModelTest, GoesToTheCpuWhereCudaKernelsDoNotTakeTheModel) {
  const auto model = load_model(kOddHeads, {});
  if (model.processor != Processor::mlx) {
    EXPECT_EQ(model.processor, Processor::cpu);
  }
  if (!cuda_device_info()) {
    EXPECT_THAT(model.notices, ::testing::IsEmpty());
    return;
  }
  EXPECT_THAT(model.notices, ::testing::ElementsAre(::testing::HasSubstr(
                                 "is not used: our kernels take heads of")));
  const auto message = testing::error_of(ErrorCode::unsupported, [] {
    load_model(kOddHeads, {.device = Device::gpu});
  });
  EXPECT_THAT(message, ::testing::HasSubstr("--device cpu"));
}

}  // namespace
}  // namespace llamlx
