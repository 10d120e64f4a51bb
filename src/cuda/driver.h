#pragma once

#include <optional>
#include <string>
#include <string_view>

#include <cuda.h>

// Of this room's own .cpp files alone: no other header includes <cuda.h>.
namespace llamlx {

/// The address of one of the driver's functions, for a pointer of any type.
class DriverSymbol {
 public:
  explicit DriverSymbol(void* address) : address_(address) {}

  template <typename Function>
  operator Function*() const {  // NOLINT(google-explicit-constructor)
    return reinterpret_cast<Function*>(address_);
  }

 private:
  void* address_;
};

/// Finds functions as the driver names them: "cuMemAlloc" is the version of it
/// that <cuda.h> declares. Errors: Error (no_device) for one that is not there.
class DriverSymbols {
 public:
  explicit DriverSymbols(decltype(&::cuGetProcAddress) get) : get_(get) {}
  DriverSymbol operator()(const char* name) const;

 private:
  decltype(&::cuGetProcAddress) get_;
};

/// The functions of NVIDIA's driver that we call.
struct Driver {
  explicit Driver(DriverSymbols symbols) : find(symbols) {}

  DriverSymbols find;

  decltype(&::cuInit) init = find("cuInit");
  decltype(&::cuDriverGetVersion) driver_get_version =
      find("cuDriverGetVersion");
  decltype(&::cuGetErrorString) get_error_string = find("cuGetErrorString");

  decltype(&::cuDeviceGetCount) device_get_count = find("cuDeviceGetCount");
  decltype(&::cuDeviceGet) device_get = find("cuDeviceGet");
  decltype(&::cuDeviceGetName) device_get_name = find("cuDeviceGetName");
  decltype(&::cuDeviceGetAttribute) device_get_attribute =
      find("cuDeviceGetAttribute");
  decltype(&::cuDeviceGetPCIBusId) device_get_pci_bus_id =
      find("cuDeviceGetPCIBusId");
  decltype(&::cuDevicePrimaryCtxRetain) device_primary_ctx_retain =
      find("cuDevicePrimaryCtxRetain");
  decltype(&::cuCtxSetCurrent) ctx_set_current = find("cuCtxSetCurrent");

  decltype(&::cuMemGetInfo) mem_get_info = find("cuMemGetInfo");
  decltype(&::cuMemAlloc) mem_alloc = find("cuMemAlloc");
  decltype(&::cuMemFree) mem_free = find("cuMemFree");
  decltype(&::cuMemHostAlloc) mem_host_alloc = find("cuMemHostAlloc");
  decltype(&::cuMemFreeHost) mem_free_host = find("cuMemFreeHost");
  decltype(&::cuMemHostGetDevicePointer) mem_host_get_device_pointer =
      find("cuMemHostGetDevicePointer");
  decltype(&::cuPointerGetAttribute) pointer_get_attribute =
      find("cuPointerGetAttribute");
  decltype(&::cuMemcpyHtoDAsync) memcpy_htod_async = find("cuMemcpyHtoDAsync");
  decltype(&::cuMemcpyDtoHAsync) memcpy_dtoh_async = find("cuMemcpyDtoHAsync");
  decltype(&::cuMemcpyDtoDAsync) memcpy_dtod_async = find("cuMemcpyDtoDAsync");
  decltype(&::cuMemsetD8Async) memset_d8_async = find("cuMemsetD8Async");

  decltype(&::cuStreamCreate) stream_create = find("cuStreamCreate");
  decltype(&::cuStreamDestroy) stream_destroy = find("cuStreamDestroy");
  decltype(&::cuStreamSynchronize) stream_synchronize =
      find("cuStreamSynchronize");
  decltype(&::cuStreamWaitEvent) stream_wait_event = find("cuStreamWaitEvent");
  decltype(&::cuStreamBeginCapture) stream_begin_capture =
      find("cuStreamBeginCapture");
  decltype(&::cuStreamEndCapture) stream_end_capture =
      find("cuStreamEndCapture");

  decltype(&::cuEventCreate) event_create = find("cuEventCreate");
  decltype(&::cuEventDestroy) event_destroy = find("cuEventDestroy");
  decltype(&::cuEventRecord) event_record = find("cuEventRecord");
  decltype(&::cuEventQuery) event_query = find("cuEventQuery");
  decltype(&::cuEventSynchronize) event_synchronize =
      find("cuEventSynchronize");
  decltype(&::cuEventElapsedTime) event_elapsed_time =
      find("cuEventElapsedTime");

  decltype(&::cuModuleLoadData) module_load_data = find("cuModuleLoadData");
  decltype(&::cuModuleUnload) module_unload = find("cuModuleUnload");
  decltype(&::cuModuleGetFunction) module_get_function =
      find("cuModuleGetFunction");
  decltype(&::cuFuncGetAttribute) func_get_attribute =
      find("cuFuncGetAttribute");
  decltype(&::cuFuncSetAttribute) func_set_attribute =
      find("cuFuncSetAttribute");
  decltype(&::cuFuncGetParamInfo) func_get_param_info =
      find("cuFuncGetParamInfo");
  decltype(&::cuLaunchKernelEx) launch_kernel_ex = find("cuLaunchKernelEx");
  decltype(&::cuOccupancyMaxActiveBlocksPerMultiprocessor)
      occupancy_max_active_blocks_per_multiprocessor =
          find("cuOccupancyMaxActiveBlocksPerMultiprocessor");
  decltype(&::cuOccupancyMaxActiveClusters) occupancy_max_active_clusters =
      find("cuOccupancyMaxActiveClusters");

  decltype(&::cuGraphInstantiateWithFlags) graph_instantiate_with_flags =
      find("cuGraphInstantiateWithFlags");
  decltype(&::cuGraphLaunch) graph_launch = find("cuGraphLaunch");
  decltype(&::cuGraphDestroy) graph_destroy = find("cuGraphDestroy");
  decltype(&::cuGraphExecDestroy) graph_exec_destroy =
      find("cuGraphExecDestroy");
  decltype(&::cuGraphGetRootNodes) graph_get_root_nodes =
      find("cuGraphGetRootNodes");
  decltype(&::cuGraphNodeGetType) graph_node_get_type =
      find("cuGraphNodeGetType");
  decltype(&::cuGraphKernelNodeGetParams) graph_kernel_node_get_params =
      find("cuGraphKernelNodeGetParams");
  decltype(&::cuGraphExecKernelNodeSetParams)
      graph_exec_kernel_node_set_params =
          find("cuGraphExecKernelNodeSetParams");
};

/// What the first look for the driver found: it, or why there is none.
struct FoundDriver {
  std::optional<Driver> driver;
  std::string absence;
};
const FoundDriver& find_driver();

/// The driver. Errors: Error (no_device) where there is none.
const Driver& driver();

/// What the driver says of a result, in its words.
std::string driver_message(const Driver& driver, CUresult result);

/// Throws Error unless the driver did what `action` says, as "cannot <action>":
/// out_of_memory, or no_device for all else.
void check_driver(CUresult result, std::string_view action);

/// "13.0" of 13000.
std::string cuda_version_name(int version);

}  // namespace llamlx
