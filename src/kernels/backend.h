#pragma once

#include <functional>
#include <memory>
#include <string>

#include "kernels/stack.h"

namespace llamlx {

/// Who computes the steps of a decoder.
struct Backend {
  std::string name;  ///< "mlx", or the instruction set of CPU kernels
  /// How it holds weights (kernels/held_weight.h).
  ValueFormat (*held)(const ValueFormat& stored, mx::Dtype compute);
  std::function<std::shared_ptr<const Stack>(DecoderWeights, StackParams)> make;
  /// Whether it reads a weight that stays packed as it is stored; else that is
  /// held dense. Null: it reads all.
  bool (*reads)(const Weight& stored) = nullptr;
};

/// Every step written with MLX's own ops: runs on every device MLX has, is the
/// reference that kernels are tested against, and the path of gradients.
Backend mlx_backend();

/// Our own kernels for processors (src/cpu), all steps of a forward pass in one
/// node of MLX's graph. Activations and sums are float32; `compute` is the type
/// of the cache, and what products may round their operands to
/// (cpu/matmul/matmul.h). `threads` as for thread_pool().
/// Errors: std::invalid_argument unless `compute` is a floating type;
/// Error as active_isa().
Backend cpu_backend(mx::Dtype compute, int threads = 0);

/// Our own kernels for NVIDIA's GPUs (src/cuda), with weights and caches in the
/// GPU's memory. Activations and sums are float32; `compute` is the type of the
/// cache, and what products may round their operands to. With `kv_bits` of 8 a
/// cache has whole numbers of 8 bits, a scale for each 64 (cuda/cached_rows.h):
/// half as many bytes, and about 0.4% of the largest of 64 is lost.
/// Errors: Error (no_device); std::invalid_argument unless `compute` is a
/// floating type and `kv_bits` 0 or 8.
Backend cuda_backend(mx::Dtype compute, int kv_bits = 0);

/// Errors: std::invalid_argument unless they are 0 or 8.
void check_kv_bits(int kv_bits);

}  // namespace llamlx
