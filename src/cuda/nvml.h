#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace llamlx {

/// The functions of NVIDIA's management library that we call; null: it has
/// none. All return 0 when they did what they are for.
///
/// Source  "NVML API Reference Guide", NVIDIA: Initialization and Cleanup,
///         Device Queries.
struct Nvml {
  struct NamedDevice;  // of a library that we never look into
  using Device = NamedDevice*;
  /// nvmlUtilization_t: shares of the last moments, in per cent.
  struct Utilization {
    unsigned gpu;
    unsigned memory;
  };
  /// nvmlMemory_t: bytes.
  struct Memory {
    unsigned long long total;
    unsigned long long free;
    unsigned long long used;
  };
  static constexpr int kSmClock = 1;  ///< NVML_CLOCK_SM

  int (*init)() = nullptr;
  int (*device_by_pci_bus_id)(const char* id, Device* device) = nullptr;
  int (*utilization)(Device device, Utilization* shares) = nullptr;
  int (*memory)(Device device, Memory* memory) = nullptr;
  int (*power)(Device device, unsigned* milliwatts) = nullptr;
  int (*clock)(Device device, int which, unsigned* mhz) = nullptr;
};

/// What of them `library` has: nothing where there is none. It comes with the
/// driver.
Nvml load_nvml(const char* library = "libnvidia-ml.so.1");

/// What a GPU does at a moment, for all programs that use it. What is not told
/// is left out.
struct GpuActivity {
  std::optional<double> busy_percent;  ///< of the time: a kernel ran
  std::optional<std::uint64_t> memory_used_bytes;
  std::optional<std::uint64_t> memory_total_bytes;
  std::optional<double> watts;
  std::optional<double> sm_clock_mhz;
};

/// Asks NVML again and again about one GPU. Nothing that fails is an error: it
/// is left out of what read() tells.
/// Threads: const members from several.
class GpuMonitor {
 public:
  /// The GPU of this process (cuda_device_info()); nothing is told of it where
  /// there is none.
  GpuMonitor();
  /// The GPU that the driver names so ("0000:17:00.0"): CUDA and NVML number
  /// GPUs otherwise.
  GpuMonitor(const Nvml& nvml, const std::string& pci_bus_id);

  GpuActivity read() const;

 private:
  Nvml nvml_;
  Nvml::Device device_ = nullptr;
};

}  // namespace llamlx
