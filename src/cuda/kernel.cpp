#include "cuda/kernel.h"

#include <algorithm>
#include <array>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>

#include "base/concat.h"
#include "cuda/device.h"
#include "cuda/driver.h"
#include "cuda/modules.h"

namespace llamlx {
namespace {

// What a block may have without asking for it.
constexpr unsigned kUsualShared = 48U << 10;
constexpr unsigned kLargestBlock = 1024;

// Kernels overlap from compute capability 9.0 on.
constexpr int kOverlappingCapability = 90;

std::size_t only_parameter_bytes(CUfunction function) {
  std::size_t offset = 0;
  std::size_t bytes = 0;
  if (driver().func_get_param_info(function, 1, &offset, &bytes) ==
      CUDA_SUCCESS) {
    throw std::invalid_argument("a kernel has more than one parameter");
  }
  check_driver(driver().func_get_param_info(function, 0, &offset, &bytes),
               "ask for the size of a kernel's parameter");
  return bytes;
}

const CudaModule& find_module(std::string_view name) {
  const auto modules = cuda_modules();
  const auto found = std::find_if(
      modules.begin(), modules.end(),
      [&](const CudaModule& module) { return module.name == name; });
  if (found == modules.end()) {
    throw std::invalid_argument(concat("no CUDA module is called ", name));
  }
  return *found;
}

/// What has been loaded into the GPU, for as long as the process lives.
class LoadedKernels {
 public:
  const Kernel& get(std::string_view module, std::string_view name) {
    const std::lock_guard lock(mutex_);
    auto& loaded = modules_[std::string(module)];
    const auto known = loaded.kernels.find(name);
    if (known != loaded.kernels.end()) return known->second;
    if (loaded.module == nullptr) loaded.module = load(find_module(module));

    CUfunction function = nullptr;
    const std::string key(name);
    const auto result =
        driver().module_get_function(&function, loaded.module, key.c_str());
    if (result == CUDA_ERROR_NOT_FOUND) {
      throw std::invalid_argument(
          concat("no kernel of ", module, " is called ", name));
    }
    check_driver(result, concat("load its kernel ", name));
    // Neighbours that want the memory of a multiprocessor split differently
    // would not overlap.
    check_driver(
        driver().func_set_attribute(
            function, CU_FUNC_ATTRIBUTE_PREFERRED_SHARED_MEMORY_CARVEOUT,
            CU_SHAREDMEM_CARVEOUT_MAX_SHARED),
        "split the memory of multiprocessors");
    return loaded.kernels.try_emplace(key, function).first->second;
  }

 private:
  struct LoadedModule {
    CUmodule module = nullptr;
    std::map<std::string, Kernel, std::less<>> kernels;
  };

  static CUmodule load(const CudaModule& module) {
    cuda_device();
    CUmodule loaded = nullptr;
    check_driver(driver().module_load_data(&loaded, module.fatbin.data()),
                 concat("load its kernels ", module.name));
    return loaded;
  }

  std::mutex mutex_;
  std::map<std::string, LoadedModule, std::less<>> modules_;
};

void check_shape(const LaunchShape& shape) {
  if (shape.grid_x == 0 || shape.grid_y == 0 || shape.grid_z == 0) {
    throw std::invalid_argument("a kernel needs a grid that is not empty");
  }
  if (shape.block == 0 || shape.block > kLargestBlock) {
    throw std::invalid_argument("a block has 1 to 1024 threads");
  }
}

CUlaunchConfig launch_config(const LaunchShape& shape) {
  CUlaunchConfig config{};
  config.gridDimX = shape.grid_x;
  config.gridDimY = shape.grid_y;
  config.gridDimZ = shape.grid_z;
  config.blockDimX = shape.block;
  config.blockDimY = 1;
  config.blockDimZ = 1;
  config.sharedMemBytes = shape.shared_bytes;
  return config;
}

/// Of blocks that are a cluster.
CUlaunchAttribute cluster_attribute(const LaunchShape& shape) {
  CUlaunchAttribute attribute{};
  attribute.id = CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION;
  attribute.value.clusterDim = {1, shape.grid_y, 1};
  return attribute;
}

}  // namespace

Kernel::Kernel(CUfunc_st* function)
    : function_(function),
      args_bytes_(only_parameter_bytes(function)),
      allowed_shared_(kUsualShared) {}

int Kernel::registers() const {
  cuda_device();
  int count = 0;
  check_driver(driver().func_get_attribute(&count, CU_FUNC_ATTRIBUTE_NUM_REGS,
                                           function_),
               "ask for a kernel's registers");
  return count;
}

void Kernel::allow_shared(unsigned bytes) const {
  if (bytes <= allowed_shared_) return;
  static std::mutex mutex;
  const std::lock_guard lock(mutex);
  if (bytes <= allowed_shared_) return;
  cuda_device();
  check_driver(driver().func_set_attribute(
                   function_, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES,
                   static_cast<int>(bytes)),
               concat("give a block ", bytes, " bytes of shared memory"));
  allowed_shared_ = bytes;
}

const Kernel& cuda_kernel(std::string_view module, std::string_view name) {
  static LoadedKernels loaded;
  find_module(module);
  cuda_device();
  return loaded.get(module, name);
}

int blocks_per_multiprocessor(const Kernel& kernel, unsigned block,
                              unsigned shared_bytes) {
  cuda_device();
  kernel.allow_shared(shared_bytes);
  int blocks = 0;
  check_driver(
      driver().occupancy_max_active_blocks_per_multiprocessor(
          &blocks, kernel.function(), static_cast<int>(block), shared_bytes),
      "tell how many blocks fit");
  return blocks;
}

int clusters_at_once(const Kernel& kernel, const LaunchShape& shape) {
  cuda_device();
  kernel.allow_shared(shape.shared_bytes);
  auto config = launch_config(shape);
  auto attribute = cluster_attribute(shape);
  config.attrs = &attribute;
  config.numAttrs = 1;
  int clusters = 0;
  check_driver(driver().occupancy_max_active_clusters(
                   &clusters, kernel.function(), &config),
               "tell how many clusters fit");
  return clusters;
}

void launch_bytes(Stream& stream, const Kernel& kernel,
                  const LaunchShape& shape, const void* args,
                  std::size_t args_bytes) {
  check_shape(shape);
  if (args_bytes != kernel.args_bytes()) {
    throw std::invalid_argument(concat("a kernel's arguments have ", args_bytes,
                                       " bytes, not ", kernel.args_bytes()));
  }
  const auto& device = cuda_device();
  kernel.allow_shared(shape.shared_bytes);

  auto config = launch_config(shape);
  config.hStream = stream.handle();
  std::array<CUlaunchAttribute, 2> attributes{};
  config.attrs = attributes.data();
  auto& how = attributes.front();
  if (shape.runs_together) {
    how.id = CU_LAUNCH_ATTRIBUTE_COOPERATIVE;
    how.value.cooperative = 1;
  } else if (shape.overlaps &&
             device.compute_capability >= kOverlappingCapability) {
    how.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
    how.value.programmaticStreamSerializationAllowed = 1;
  }
  config.numAttrs = how.id == CU_LAUNCH_ATTRIBUTE_IGNORE ? 0 : 1;
  if (shape.is_cluster) {
    attributes.at(config.numAttrs++) = cluster_attribute(shape);
  }
  void* parameters[] = {const_cast<void*>(args)};
  check_driver(driver().launch_kernel_ex(&config, kernel.function(), parameters,
                                         nullptr),
               "start a kernel");
}

}  // namespace llamlx
