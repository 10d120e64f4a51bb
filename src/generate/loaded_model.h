#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <mlx/device.h>

#include "generate/generator.h"
#include "llamlx/llamlx.h"
#include "models/tensor_spec.h"

namespace llamlx {

/// A model with all that generation needs, loaded from one place on disk.
struct LoadedModel {
  Decoder decoder;
  std::unique_ptr<Tokenizer> tokenizer;  ///< null: the checkpoint has none
  mx::Device device;
  ModelInfo info;
  std::vector<std::string> notices;
};

/// Opens the checkpoint at `path`, verifies it and loads it.
/// Errors: Error, naming file and tensor; no_device when a GPU is asked for and
/// MLX has none.
LoadedModel load_model(const std::filesystem::path& path,
                       const LoadOptions& options);

/// The checkpoint's own tokenizer, or null when it has none.
std::unique_ptr<Tokenizer> load_tokenizer(const Checkpoint& checkpoint);

/// The device of MLX that `device` stands for. Errors: Error (no_device).
mx::Device resolve_device(Device device);

/// The type a checkpoint whose values are `stored` computes in.
mx::Dtype resolve_dtype(ComputeType type, mx::Dtype stored);

/// Who computes on `device`.
Backend resolve_backend(mx::Device device, mx::Dtype dtype, int threads);

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
