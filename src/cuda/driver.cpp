#include "cuda/driver.h"

#include <dlfcn.h>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

constexpr auto kLibrary = "libcuda.so.1";

// A program of one CUDA 13 runs on the driver of every other.
constexpr int kOldestVersion = CUDA_VERSION / 1000 * 1000;
constexpr auto kOldestDriver = "580";

FoundDriver absent(std::string why) { return {std::nullopt, std::move(why)}; }

FoundDriver load_driver() {
  // It stays loaded: it has threads of its own.
  void* library = ::dlopen(kLibrary, RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) {
    return absent(concat("no NVIDIA driver was found (", ::dlerror(), ")"));
  }
  const decltype(&::cuDriverGetVersion) get_version =
      DriverSymbol(::dlsym(library, "cuDriverGetVersion"));
  const decltype(&::cuGetProcAddress) get_address =
      DriverSymbol(::dlsym(library, "cuGetProcAddress_v2"));
  int version = 0;
  if (get_version == nullptr || get_version(&version) != CUDA_SUCCESS) {
    return absent(concat(kLibrary, " is not NVIDIA's driver"));
  }
  if (version < kOldestVersion || get_address == nullptr) {
    return absent(concat("the NVIDIA driver is made for CUDA ",
                         cuda_version_name(version), ", and has to be for ",
                         cuda_version_name(kOldestVersion), " (driver ",
                         kOldestDriver, " or later)"));
  }
  try {
    return {Driver(DriverSymbols(get_address)), ""};
  } catch (const Error& error) {
    return absent(error.what());
  }
}

}  // namespace

DriverSymbol DriverSymbols::operator()(const char* name) const {
  void* address = nullptr;
  const auto result =
      get_(name, &address, CUDA_VERSION, CU_GET_PROC_ADDRESS_DEFAULT, nullptr);
  if (result != CUDA_SUCCESS || address == nullptr) {
    fail(ErrorCode::no_device, "NVIDIA driver", concat("has no ", name),
         "install a newer one");
  }
  return DriverSymbol(address);
}

const FoundDriver& find_driver() {
  static const FoundDriver found = load_driver();
  return found;
}

const Driver& driver() {
  const auto& found = find_driver();
  if (!found.driver) {
    fail(ErrorCode::no_device, "GPU", found.absence, "run on the CPU");
  }
  return *found.driver;
}

std::string driver_message(const Driver& driver, CUresult result) {
  const char* text = nullptr;
  if (driver.get_error_string(result, &text) != CUDA_SUCCESS) {
    return concat("error ", static_cast<int>(result));
  }
  return text;
}

void check_driver(CUresult result, std::string_view action) {
  if (result == CUDA_SUCCESS) return;
  const auto cause =
      concat("cannot ", action, " (", driver_message(driver(), result), ")");
  if (result == CUDA_ERROR_OUT_OF_MEMORY) {
    fail(ErrorCode::out_of_memory, "GPU", cause,
         "close what else uses the GPU, or take a smaller model");
  }
  fail(ErrorCode::no_device, "GPU", cause,
       "see what nvidia-smi says of it, or run on the CPU");
}

std::string cuda_version_name(int version) {
  return concat(version / 1000, ".", version % 1000 / 10);
}

}  // namespace llamlx
