#pragma once

#include <functional>
#include <optional>
#include <string>

#include "checkpoint/checkpoint.h"
#include "kernels/decoder_weights.h"
#include "models/model_config.h"

namespace llamlx {

/// How a weight is held that is stored as `format` says.
using HeldFormat =
    std::function<ValueFormat(const Weight& stored, const ValueFormat& format)>;

/// Told of each parameter that has been loaded.
using OnLoaded = std::function<void(const WeightInfo& info)>;

/// Loads every parameter, one at a time, as it is held. `checkpoint` has been
/// verified against `config` (models/tensor_spec.h).
/// Errors: Error, when a tensor cannot be read.
DecoderWeights load_decoder_weights(const Checkpoint& checkpoint,
                                    const ModelConfig& config,
                                    const HeldFormat& held,
                                    const OnLoaded& on_loaded = {});

/// The name of the first parameter that holds NaN or infinite values, if one
/// does; of a quantised one the scales and biases count. Reads all of them.
std::optional<std::string> first_not_finite(const DecoderWeights& weights,
                                            const ModelConfig& config);

}  // namespace llamlx
