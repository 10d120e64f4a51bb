#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "cpu/matmul/registry.h"
#include "cuda/device.h"
#include "kernels/cuda/cuda_kernels.h"
#include "models/model_config.h"
#include "tensor/weight.h"

namespace llamlx {

/// Weights that are stored alike.
struct StorageKind {
  std::optional<Quantization> quantization;  ///< empty: dense
  mx::Dtype dtype;                           ///< as Weight::dtype()
  std::set<std::string>
      modules;  ///< "embeddings", "linear layers", "norms", ...
  std::int64_t parameters = 0;
};

/// How `generate` runs a model here when nothing else is asked for.
struct RunFacts {
  std::string device;
  std::string dtype;
  std::string kernels;
  /// What multiplies with most of the weights, on the CPU.
  std::optional<ServingKernels> products;
  /// The GPU that our own kernels run on, if they do, and which of them.
  std::optional<CudaDeviceInfo> gpu;
  std::optional<CudaKernelChoice> gpu_products;
  std::uint64_t weight_bytes = 0;       ///< the weights as held in memory
  std::uint64_t cache_token_bytes = 0;  ///< of the KV cache, a token
};

/// What can be said of a model without reading its weights.
struct ModelFacts {
  std::string path;
  std::string format;  ///< "safetensors" or "gguf"
  ModelConfig config;
  std::int64_t parameters = 0;
  std::int64_t active_parameters = 0;  ///< that a token is computed with
  std::vector<StorageKind> storage;    ///< the largest first
  std::string tokenizer;  ///< e.g. "BPE (tokenizer.json)", or "none"
  int tokenizer_vocab_size = 0;
  std::uint64_t disk_bytes = 0;    ///< all files of the model
  std::uint64_t weight_bytes = 0;  ///< the weights as stored, unpadded
  RunFacts run;
  std::vector<std::string> notices;
};

/// Opens the checkpoint at `path` and checks its tensors against its config.
/// Errors: Error, naming file and tensor.
ModelFacts read_model_facts(const std::filesystem::path& path);

/// Of the weights as stored, scales and biases included.
double bits_per_weight(const ModelFacts& facts);

/// "affine 4-bit, group 64" or "bfloat16".
std::string to_string(const StorageKind& kind);

/// All kinds of storage in a line: "affine 4-bit, group 32 (linear layers);
/// affine 8-bit, group 32 (embeddings); float32 (norms)".
std::string storage_line(const std::vector<StorageKind>& storage);

}  // namespace llamlx
