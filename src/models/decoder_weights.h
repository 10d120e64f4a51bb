#pragma once

#include <optional>
#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "kernels/mlp/mlp.h"
#include "kernels/qkv/qkv.h"
#include "models/model_config.h"

namespace llamlx {

struct DecoderLayer {
  QkvWeights qkv;
  Linear o_proj;
  MlpWeights mlp;
};

/// The parameters of a decoder, in the type it computes in.
struct DecoderWeights {
  Weight embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  mx::array norm;  // [D]
  Linear lm_head;  // [V, D]; the same arrays as embed_tokens when tied

  std::size_t nbytes = 0;  ///< tied parameters counted once
};

/// Loads every parameter, one at a time, cast to `dtype` (quantised weights
/// stay packed; their scales and biases are cast). `checkpoint` has been
/// verified against `config` (models/tensor_spec.h).
/// Errors: Error, when a tensor cannot be read.
DecoderWeights load_decoder_weights(const Checkpoint& checkpoint,
                                    const ModelConfig& config, mx::Dtype dtype);

/// The name of the first parameter that holds NaN or infinite values, if one
/// does; of a quantised one the scales and biases count. Reads all of them.
std::optional<std::string> first_not_finite(const DecoderWeights& weights);

}  // namespace llamlx
