#pragma once

#include <functional>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "kernels/decoder_weights.h"
#include "models/model_config.h"

namespace llamlx {

/// The type in which a weight is held whose values (scales and biases, when it
/// is quantised) are stored as the one given.
using HeldType = std::function<mx::Dtype(mx::Dtype stored)>;

/// Loads every parameter, one at a time, cast to the type it is held in
/// (quantised weights stay packed). `checkpoint` has been verified against
/// `config` (models/tensor_spec.h).
/// Errors: Error, when a tensor cannot be read.
DecoderWeights load_decoder_weights(const Checkpoint& checkpoint,
                                    const ModelConfig& config,
                                    const HeldType& held);

/// The name of the first parameter that holds NaN or infinite values, if one
/// does; of a quantised one the scales and biases count. Reads all of them.
std::optional<std::string> first_not_finite(const DecoderWeights& weights);

}  // namespace llamlx
