#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace llamlx {

struct CudaDeviceInfo {
  std::string name;
  int compute_capability = 0;  ///< 90 for 9.0
  int multiprocessors = 0;
  int shared_bytes_per_block = 0;  ///< the most a kernel may ask for
  std::uint64_t memory_bytes = 0;
  std::uint64_t free_bytes = 0;
  std::uint64_t l2_bytes = 0;
  int driver_version = 0;       ///< the newest CUDA it knows: 13000 for 13.0
  std::string pci_bus_id = {};  ///< "0000:17:00.0"; empty: emulated
};

/// The first GPU that CUDA_VISIBLE_DEVICES leaves and that our kernels run on,
/// with the memory that is free now; nothing where there is none, and
/// cuda_absence() says why. The first call starts the GPU: tenths of a second.
std::optional<CudaDeviceInfo> cuda_device_info();

/// Why there is no GPU, as a cause for fail(); empty where there is one.
std::string cuda_absence();

/// The same GPU, for work: its primary context, which it shares with other
/// libraries in this process, becomes the calling thread's. `free_bytes` is
/// what was free at the start.
/// Errors: Error (no_device).
const CudaDeviceInfo& cuda_device();

/// cuda_device() for destructors: false where it would throw.
bool enter_cuda_device() noexcept;

}  // namespace llamlx
