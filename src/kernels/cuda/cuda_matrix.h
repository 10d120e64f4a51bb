#pragma once

#include <optional>
#include <span>
#include <vector>

#include "cuda/matmul/few_rows.h"
#include "cuda/memory.h"
#include "kernels/linear.h"

namespace llamlx {

/// "bf16": what kernels that read such numbers are called.
const char* type_name(cuda::NumberType type);

/// Numbers of float32 on the GPU; none: nullptr.
struct CudaVector {
  DeviceBuffer numbers;
  float largest = 1;  ///< of the magnitudes
  const float* data() const { return numbers.as<const float>(); }
};

/// A vector of a model (a norm, a bias), which it evaluates, as float32.
CudaVector upload_vector(Stream& stream, const mx::array& values);

/// A weight, or several side by side, packed on the GPU; or as many of these as
/// there are experts, one after another.
struct CudaMatrix {
  DeviceBuffer bytes;
  cuda::PackedLayout layout{};
  int rows = 0;  ///< of all weights together, of one expert
  int cols = 0;
  int row_blocks = 0;  ///< of one expert
  int tiles = 0;
  CudaVector bias;

  /// From one expert's weights to the next's.
  std::size_t expert_bytes() const {
    return static_cast<std::size_t>(row_blocks) * tiles *
           cuda::tile_bytes(layout);
  }

  bool is_wide() const {
    return layout.bits == 0 && layout.type == cuda::NumberType::f32;
  }
  /// "affine4_g64_bf16": what kernels that read it are called.
  std::string kernel_suffix() const;
};

/// What is packed together: weights one after another, or two whose rows meet.
enum class Packing { side_by_side, interleaved };

/// Whether layers are alike, so that one matrix holds them all.
bool are_packed_together(std::span<const Linear* const> layers);

/// Packs layers that read the same rows: one matrix if they are alike, else one
/// for each. Of `experts` their weights have the rows of all.
std::vector<CudaMatrix> pack_linears(Stream& stream,
                                     std::span<const Linear* const> layers,
                                     Packing packing, int experts = 1);

CudaMatrix pack_weight(Stream& stream, const Weight& weight);

/// Bytes that pack_linears() takes of the GPU's memory for weights.
std::size_t packed_bytes(std::span<const Linear* const> layers, Packing packing,
                         int experts = 1);
std::size_t packed_bytes(const Weight& weight);

}  // namespace llamlx
