#include "cuda/nvml.h"

#include <string>

#include <gtest/gtest.h>

#include "cuda/testing.h"

namespace llamlx {
namespace {

constexpr int kDone = 0, kNotSupported = 3, kNotFound = 6;
constexpr auto kId = "0000:17:00.0";

Nvml::Device the_gpu() {
  static int gpu = 0;
  return reinterpret_cast<Nvml::Device>(&gpu);
}

/// A library of one GPU.
Nvml fake_nvml() {
  Nvml nvml;
  nvml.init = [] { return kDone; };
  nvml.device_by_pci_bus_id = [](const char* id, Nvml::Device* device) {
    if (std::string(id) != kId) return kNotFound;
    *device = the_gpu();
    return kDone;
  };
  nvml.utilization = [](Nvml::Device device, Nvml::Utilization* shares) {
    *shares = {87, 12};
    return device == the_gpu() ? kDone : kNotFound;
  };
  nvml.memory = [](Nvml::Device, Nvml::Memory* memory) {
    *memory = {80'000'000'000, 60'000'000'000, 20'000'000'000};
    return kDone;
  };
  nvml.power = [](Nvml::Device, unsigned* milliwatts) {
    *milliwatts = 345'600;
    return kDone;
  };
  nvml.clock = [](Nvml::Device, int which, unsigned* mhz) {
    *mhz = which == Nvml::kSmClock ? 1980 : 0;
    return kDone;
  };
  return nvml;
}

void expect_nothing(const GpuActivity& activity) {
  EXPECT_FALSE(activity.busy_percent);
  EXPECT_FALSE(activity.memory_used_bytes);
  EXPECT_FALSE(activity.memory_total_bytes);
  EXPECT_FALSE(activity.watts);
  EXPECT_FALSE(activity.sm_clock_mhz);
}

TEST(GpuMonitorTest, TellsWhatTheLibraryTells) {
  const auto activity = GpuMonitor(fake_nvml(), kId).read();
  EXPECT_EQ(activity.busy_percent, 87);
  EXPECT_EQ(activity.memory_used_bytes, 20'000'000'000);
  EXPECT_EQ(activity.memory_total_bytes, 80'000'000'000);
  EXPECT_EQ(activity.watts, 345.6);
  EXPECT_EQ(activity.sm_clock_mhz, 1980);
}

TEST(GpuMonitorTest, LeavesOutWhatFails) {
  auto nvml = fake_nvml();
  nvml.power = [](Nvml::Device, unsigned* milliwatts) {
    *milliwatts = 1;
    return kNotSupported;
  };
  const auto activity = GpuMonitor(nvml, kId).read();
  EXPECT_FALSE(activity.watts);
  EXPECT_EQ(activity.busy_percent, 87);
}

TEST(GpuMonitorTest, LeavesOutWhatTheLibraryDoesNotHave) {
  auto nvml = fake_nvml();
  nvml.utilization = nullptr;
  nvml.clock = nullptr;
  const auto activity = GpuMonitor(nvml, kId).read();
  EXPECT_FALSE(activity.busy_percent);
  EXPECT_FALSE(activity.sm_clock_mhz);
  EXPECT_EQ(activity.watts, 345.6);
}

TEST(GpuMonitorTest, KnowsNothingOfAGpuThatIsNotThere) {
  expect_nothing(GpuMonitor(fake_nvml(), "0000:18:00.0").read());
  expect_nothing(GpuMonitor(fake_nvml(), "").read());
}

TEST(GpuMonitorTest, KnowsNothingOfALibraryThatDoesNotStart) {
  auto nvml = fake_nvml();
  nvml.init = [] { return kNotSupported; };
  expect_nothing(GpuMonitor(nvml, kId).read());
  nvml.init = nullptr;
  expect_nothing(GpuMonitor(nvml, kId).read());
}

TEST(GpuMonitorTest, DoesWithoutTheLibraryAndItsFunctions) {
  for (const auto* library : {"libno-such-library.so.1", "libc.so.6"}) {
    const auto nvml = load_nvml(library);
    EXPECT_EQ(nvml.init, nullptr);
    expect_nothing(GpuMonitor(nvml, kId).read());
  }
}

TEST(GpuMonitorTest, AsksForTheGpuOfThisProcess) {
  const auto activity = GpuMonitor().read();
  const auto info = cuda_device_info();
  if (!info || info->pci_bus_id.empty()) return expect_nothing(activity);
  if (!activity.memory_total_bytes) GTEST_SKIP() << "no NVML here";
  // What the driver keeps for itself is not CUDA's.
  EXPECT_GE(*activity.memory_total_bytes, info->memory_bytes);
  EXPECT_LE(*activity.memory_used_bytes, *activity.memory_total_bytes);
}

}  // namespace
}  // namespace llamlx
