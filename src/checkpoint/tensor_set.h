#pragma once

#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "checkpoint/quantization_config.h"
#include "formats/tensor_file.h"

namespace llamlx {

/// A tensor and the file it lies in.
struct StoredTensor {
  const TensorFile* file;
  const TensorEntry* tensor;

  mx::array read() const { return file->read(*tensor); }
};

/// Tensors of one or more files, by Hugging Face's name.
using TensorSet = std::map<std::string, StoredTensor, std::less<>>;

/// The tensor called `name`, or nullptr.
const StoredTensor* find(const TensorSet& tensors, std::string_view name);

/// The weights among `tensors`, sorted by name, with the parts of quantised
/// ones joined.
///
/// A weight is quantised when `<module>.scales` stands beside
/// `<module>.weight`; `quantization` says how it is packed, and in affine mode
/// it needs `<module>.biases` too. (The bias of a linear layer is
/// `<module>.bias`.)
/// Rotary frequencies (`*.rotary_emb.inv_freq`), which old checkpoints carry
/// and config.json tells, are left out. Experts that are stored one by one are
/// joined (checkpoint/expert_stacks.h).
///
/// Weights in float64 are read as float32.
///
/// Errors: Error: unsupported for dense weights of other types than float16,
/// bfloat16, float32 and float64; mismatch when the parts of a quantised weight
/// do not fit each other or the config; and those of QuantizationConfig.
std::vector<WeightInfo> list_weights(const TensorSet& tensors,
                                     const QuantizationConfig& quantization);

/// Reads one of list_weights(). Errors: as TensorFile::read;
/// std::invalid_argument for any other.
Weight load_weight(const TensorSet& tensors, const WeightInfo& info);

}  // namespace llamlx
