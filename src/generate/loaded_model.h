#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <mlx/device.h>

#include "generate/generator.h"
#include "llamlx/llamlx.h"
#include "models/tensor_spec.h"

namespace llamlx {

/// Who computes.
enum class Processor {
  cpu,   ///< our kernels for processors
  cuda,  ///< our kernels for NVIDIA's GPUs, with memory of their own
  mlx,   ///< MLX's ops on the GPU that it has
};

/// "cpu" or "gpu".
const char* device_name(Processor processor);

/// The device of MLX's arrays.
mx::Device array_device(Processor processor);

/// A model with all that generation needs, loaded from one place on disk.
struct LoadedModel {
  Decoder decoder;
  std::unique_ptr<Tokenizer> tokenizer;  ///< null: the checkpoint has none
  Processor processor;
  ModelInfo info;
  std::vector<std::string> notices;
};

/// Opens the checkpoint at `path`, verifies it and loads it.
/// Errors: Error, naming file and tensor; no_device when a GPU is asked for and
/// there is none.
LoadedModel load_model(const std::filesystem::path& path,
                       const LoadOptions& options);

/// The checkpoint's own tokenizer, or null when it has none.
std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint);

/// Who computes on `device`: of GPUs our own kernels where they run, else
/// MLX's. Errors: Error (no_device).
Processor resolve_processor(Device device);

/// Who computes a model, and why that is not the GPU that is here.
struct ProcessorChoice {
  Processor processor;
  std::optional<std::string> notice = {};
};

/// The same for a model: where the device is not asked for by name, one that
/// our kernels for GPUs do not take goes to MLX's GPU, if it has one, or to the
/// CPU.
ProcessorChoice resolve_processor(Device device, const ModelConfig& config);

/// The type a checkpoint whose values are `stored` computes in.
mx::Dtype resolve_dtype(ComputeType type, mx::Dtype stored);

/// The backend of `processor`. Errors: Error (unsupported) for `kv_bits` that
/// it does not know; std::invalid_argument for such as none does.
Backend resolve_backend(Processor processor, mx::Dtype dtype, int threads,
                        int kv_bits = 0);

/// Makes `device` MLX's default for as long as the object lives.
class DeviceScope {
 public:
  explicit DeviceScope(mx::Device device);
  DeviceScope(const DeviceScope&) = delete;
  DeviceScope& operator=(const DeviceScope&) = delete;
  ~DeviceScope();

 private:
  mx::Device before_;
};

}  // namespace llamlx
