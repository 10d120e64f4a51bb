#include "cuda/device.h"

#include <thread>

#include <gmock/gmock.h>

#include "base/error.h"
#include "cuda/memory.h"
#include "cuda/modules.h"
#include "cuda/testing.h"

namespace llamlx {
namespace {

using ::testing::AnyOf;
using ::testing::HasSubstr;

TEST(CudaDevice, IsThereOrItsAbsenceIsToldInWords) {
  const auto info = cuda_device_info();
  EXPECT_EQ(info.has_value(), cuda_absence().empty());
  EXPECT_EQ(info.has_value(), enter_cuda_device());
  if (info) return;
  EXPECT_THAT(cuda_absence(), AnyOf(HasSubstr("driver"), HasSubstr("kernels")));
}

TEST(CudaDevice, WorkWithoutOneIsRefused) {
  if (cuda_device_info()) GTEST_SKIP() << "there is a GPU";
  for (int attempt = 0; attempt < 2; ++attempt) {
    try {
      const DeviceBuffer buffer(1);
      ADD_FAILURE() << "memory without a GPU";
    } catch (const Error& error) {
      EXPECT_EQ(error.code(), ErrorCode::no_device);
      EXPECT_THAT(error.what(), HasSubstr(cuda_absence()));
    }
  }
  EXPECT_THROW(Stream(), Error);
  EXPECT_THROW(HostBuffer(0), Error);
}

TEST(CudaModules, AreFatBinariesAligned) {
  if (cuda_modules().empty()) GTEST_SKIP() << cuda_absence();
  constexpr std::uint32_t kMagic = 0xba55ed50;
  for (const auto& module : cuda_modules()) {
    ASSERT_GE(module.fatbin.size(), 64U) << module.name;
    const auto* start = module.fatbin.data();
    EXPECT_EQ(*reinterpret_cast<const std::uint32_t*>(start), kMagic);
    EXPECT_EQ(reinterpret_cast<std::uintptr_t>(start) % 64, 0U);
  }
  EXPECT_EQ(cuda_modules().front().name, "probe/probe");
  EXPECT_THAT(std::string(cuda_architectures()), HasSubstr("."));
}

using GpuDeviceTest = testing::GpuTest;

TEST_F(GpuDeviceTest, TellsWhatItIs) {
  const auto info = *cuda_device_info();
  EXPECT_FALSE(info.name.empty());
  EXPECT_GE(info.compute_capability, 80);
  EXPECT_GT(info.multiprocessors, 0);
  EXPECT_GE(info.shared_bytes_per_block, 48 << 10);
  EXPECT_GT(info.l2_bytes, 0U);
  EXPECT_GT(info.free_bytes, 0U);
  EXPECT_LE(info.free_bytes, info.memory_bytes);
  EXPECT_GE(info.driver_version, 13000);
  const bool is_emulated = info.pci_bus_id.empty();
  EXPECT_EQ(is_emulated, cuda_modules().empty());
}

TEST_F(GpuDeviceTest, ServesEveryThread) {
  std::thread([] {
    Stream stream;
    const DeviceBuffer buffer(1 << 20);
    fill_zero(stream, buffer.data(), buffer.bytes());
    stream.synchronize();
  }).join();
}

}  // namespace
}  // namespace llamlx
