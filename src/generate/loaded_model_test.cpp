#include "generate/loaded_model.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

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

TEST(LoadModelTest, ProgressGrowsTensorByTensorToAll) {
  std::vector<std::uint64_t> done;
  std::vector<std::string> tensors;
  std::uint64_t total = 0;
  const auto tell = [&](const Progress& progress) {
    done.push_back(progress.done_bytes);
    tensors.emplace_back(progress.tensor);
    total = progress.total_bytes;
  };
  load_model(kOddHeads, {.device = Device::cpu, .on_progress = tell});
  ASSERT_FALSE(done.empty());
  EXPECT_GT(done.front(), 0u);
  EXPECT_EQ(std::ranges::adjacent_find(done, std::greater_equal{}), done.end());
  EXPECT_EQ(done.back(), total);
  EXPECT_EQ(tensors.front(), "model.embed_tokens.weight");
}

}  // namespace
}  // namespace llamlx
