#pragma once

#include <map>
#include <memory>
#include <span>

#include "kernels/cuda/cuda_matrix.h"

namespace llamlx {

/// Shorter copies of weights of bfloat16, without loss (cuda/decode/
/// short_bf16.h), for the kernel that reads them for one row. Others read the
/// weights themselves.
class CudaShortWeights {
 public:
  /// Bytes that copies of these take; 0 where there are none of their type.
  static std::size_t bytes_of(std::span<const CudaMatrix* const> matrices);

  /// Null where there are none of their type, where numbers are such that a
  /// copy would lose something, and where there is no memory.
  static std::unique_ptr<CudaShortWeights> make(
      Stream& stream, std::span<const CudaMatrix* const> matrices);

  /// The copy of one of these.
  const unsigned char* of(const CudaMatrix& matrix) const {
    return copies_.at(&matrix).as<const unsigned char>();
  }

  /// Bytes that who reads all copies reads less than there are in the weights
  /// as they were before they were packed.
  std::size_t spared_bytes() const { return spared_; }

 private:
  CudaShortWeights() = default;

  std::map<const CudaMatrix*, DeviceBuffer> copies_;
  std::size_t spared_ = 0;
};

}  // namespace llamlx
