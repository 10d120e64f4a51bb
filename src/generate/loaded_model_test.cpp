#include "generate/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "cuda/device.h"
#include "models/random_checkpoint.h"

namespace llamlx {
namespace {

ModelConfig config_of(const char* model_type) {
  auto config = RandomCheckpoint::tiny_config();
  config["model_type"] = model_type;
  return read_model_config(RandomCheckpoint(config));
}

class ResolveProcessorTest : public ::testing::Test {
 protected:
  const bool has_mlx_gpu_ = mx::is_available(mx::Device(mx::Device::gpu));
  const ModelConfig plain_ = config_of("llama");
  const ModelConfig experts_ = config_of("mixtral");
};

TEST_F(ResolveProcessorTest, TheCpuComputesWhatItIsAskedTo) {
  EXPECT_EQ(resolve_processor(Device::cpu, plain_), Processor::cpu);
  EXPECT_EQ(resolve_processor(Device::cpu, experts_), Processor::cpu);
}

TEST_F(ResolveProcessorTest, AModelWithoutExpertsGoesWhereAnyWould) {
  EXPECT_EQ(resolve_processor(Device::automatic, plain_),
            resolve_processor(Device::automatic));
}

TEST_F(ResolveProcessorTest, ExpertsDoNotGoToKernelsThatKnowNone) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  EXPECT_EQ(resolve_processor(Device::automatic, plain_), Processor::cuda);
  if (has_mlx_gpu_) {
    EXPECT_EQ(resolve_processor(Device::gpu, experts_), Processor::mlx);
    return;
  }
  EXPECT_EQ(resolve_processor(Device::automatic, experts_), Processor::cpu);
  EXPECT_THAT(
      testing::error_of(ErrorCode::no_device,
                        [&] { resolve_processor(Device::gpu, experts_); }),
      ::testing::HasSubstr("mixtures of experts"));
}

}  // namespace
}  // namespace llamlx
