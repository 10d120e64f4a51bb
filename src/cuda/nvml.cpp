#include "cuda/nvml.h"

#include <dlfcn.h>

#include "cuda/device.h"

namespace llamlx {
namespace {

template <typename Function>
void find(void* library, const char* name, Function*& function) {
  function = reinterpret_cast<Function*>(::dlsym(library, name));
}

std::string pci_bus_id() {
  const auto info = cuda_device_info();
  return info ? info->pci_bus_id : "";
}

}  // namespace

Nvml load_nvml(const char* library) {
  Nvml nvml;
  // It stays loaded, as the driver does.
  void* const opened = ::dlopen(library, RTLD_NOW | RTLD_LOCAL);
  if (opened == nullptr) return nvml;
  find(opened, "nvmlInit_v2", nvml.init);
  find(opened, "nvmlDeviceGetHandleByPciBusId_v2", nvml.device_by_pci_bus_id);
  find(opened, "nvmlDeviceGetUtilizationRates", nvml.utilization);
  find(opened, "nvmlDeviceGetMemoryInfo", nvml.memory);
  find(opened, "nvmlDeviceGetPowerUsage", nvml.power);
  find(opened, "nvmlDeviceGetClockInfo", nvml.clock);
  return nvml;
}

GpuMonitor::GpuMonitor() {
  const auto id = pci_bus_id();
  if (!id.empty()) *this = GpuMonitor(load_nvml(), id);
}

GpuMonitor::GpuMonitor(const Nvml& nvml, const std::string& pci_bus_id)
    : nvml_(nvml) {
  if (nvml_.init == nullptr || nvml_.device_by_pci_bus_id == nullptr) return;
  if (nvml_.init() != 0) return;
  Nvml::Device device = nullptr;
  if (nvml_.device_by_pci_bus_id(pci_bus_id.c_str(), &device) == 0) {
    device_ = device;
  }
}

GpuActivity GpuMonitor::read() const {
  GpuActivity activity;
  if (device_ == nullptr) return activity;
  Nvml::Utilization shares{};
  if (nvml_.utilization != nullptr &&
      nvml_.utilization(device_, &shares) == 0) {
    activity.busy_percent = shares.gpu;
  }
  Nvml::Memory memory{};
  if (nvml_.memory != nullptr && nvml_.memory(device_, &memory) == 0) {
    activity.memory_used_bytes = memory.used;
    activity.memory_total_bytes = memory.total;
  }
  unsigned milliwatts = 0;
  if (nvml_.power != nullptr && nvml_.power(device_, &milliwatts) == 0) {
    activity.watts = milliwatts / 1e3;
  }
  unsigned mhz = 0;
  if (nvml_.clock != nullptr &&
      nvml_.clock(device_, Nvml::kSmClock, &mhz) == 0) {
    activity.sm_clock_mhz = mhz;
  }
  return activity;
}

}  // namespace llamlx
