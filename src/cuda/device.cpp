#include "cuda/device.h"

#include <array>

#include "base/concat.h"
#include "base/error.h"
#include "cuda/driver.h"
#include "cuda/modules.h"

namespace llamlx {
namespace {

/// The GPU of this process, or why there is none. It is never closed: the
/// driver does that when the process ends.
struct OpenedDevice {
  std::optional<CudaDeviceInfo> info;
  CUcontext context = nullptr;
  std::string absence;
};

OpenedDevice absent(std::string why) {
  return {std::nullopt, nullptr, std::move(why)};
}

int attribute(CUdevice device, CUdevice_attribute which) {
  int value = 0;
  check_driver(driver().device_get_attribute(&value, which, device),
               "ask the GPU what it is");
  return value;
}

void read_memory(CudaDeviceInfo& info) {
  std::size_t free = 0;
  std::size_t total = 0;
  check_driver(driver().mem_get_info(&free, &total), "ask for its memory");
  info.free_bytes = free;
  info.memory_bytes = total;
}

CudaDeviceInfo read_info(CUdevice device) {
  CudaDeviceInfo info;
  std::array<char, 256> name{};
  check_driver(driver().device_get_name(name.data(), name.size(), device),
               "ask the GPU for its name");
  info.name = name.data();
  check_driver(driver().device_get_pci_bus_id(
                   name.data(), static_cast<int>(name.size()), device),
               "ask the GPU where it is");
  info.pci_bus_id = name.data();
  info.compute_capability =
      attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR) * 10 +
      attribute(device, CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
  info.multiprocessors =
      attribute(device, CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
  info.shared_bytes_per_block =
      attribute(device, CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN);
  info.l2_bytes = static_cast<std::uint64_t>(
      attribute(device, CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE));
  check_driver(driver().driver_get_version(&info.driver_version),
               "ask for the driver's version");
  return info;
}

/// Whether the driver finds code for this GPU in what we compiled. It may look
/// only when a kernel is asked for.
bool runs_our_kernels() {
  CUmodule module = nullptr;
  CUfunction probe = nullptr;
  auto result =
      driver().module_load_data(&module, cuda_modules().front().fatbin.data());
  if (result == CUDA_SUCCESS) {
    result = driver().module_get_function(&probe, module, "probe");
    driver().module_unload(module);
  }
  if (result == CUDA_ERROR_NO_BINARY_FOR_GPU) return false;
  check_driver(result, "load kernels");
  return true;
}

OpenedDevice open_first_device() {
  int count = 0;
  check_driver(driver().device_get_count(&count), "count the GPUs");
  if (count == 0) return absent("the NVIDIA driver finds no GPU");

  CUdevice device = 0;
  OpenedDevice opened;
  check_driver(driver().device_get(&device, 0), "open the GPU");
  check_driver(driver().device_primary_ctx_retain(&opened.context, device),
               "start the GPU");
  check_driver(driver().ctx_set_current(opened.context), "use the GPU");
  opened.info = read_info(device);
  read_memory(*opened.info);
  if (runs_our_kernels()) return opened;
  const auto capability = opened.info->compute_capability;
  return absent(
      concat("the kernels in this build are for GPUs of compute "
             "capability ",
             cuda_architectures(), ", and this ", opened.info->name, " has ",
             capability / 10, ".", capability % 10));
}

OpenedDevice open_device() {
  if (cuda_modules().empty()) return absent("this build has no CUDA kernels");
  const auto& found = find_driver();
  if (!found.driver) return absent(found.absence);
  const auto result = found.driver->init(0);
  if (result == CUDA_ERROR_NO_DEVICE) {
    return absent("the NVIDIA driver finds no GPU");
  }
  if (result != CUDA_SUCCESS) {
    return absent(concat("the NVIDIA driver does not start (",
                         driver_message(*found.driver, result), ")"));
  }
  try {
    return open_first_device();
  } catch (const Error& error) {
    return absent(error.what());
  }
}

const OpenedDevice& opened_device() {
  static const OpenedDevice opened = open_device();
  return opened;
}

}  // namespace

std::optional<CudaDeviceInfo> cuda_device_info() {
  if (!opened_device().info) return std::nullopt;
  auto info = cuda_device();
  read_memory(info);
  return info;
}

std::string cuda_absence() { return opened_device().absence; }

const CudaDeviceInfo& cuda_device() {
  const auto& opened = opened_device();
  if (!opened.info) {
    fail(ErrorCode::no_device, "GPU", opened.absence, "run on the CPU");
  }
  check_driver(driver().ctx_set_current(opened.context), "use the GPU");
  return *opened.info;
}

bool enter_cuda_device() noexcept {
  const auto& opened = opened_device();
  return opened.info &&
         driver().ctx_set_current(opened.context) == CUDA_SUCCESS;
}

}  // namespace llamlx
