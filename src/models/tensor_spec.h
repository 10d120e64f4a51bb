#pragma once

#include <string>
#include <vector>

#include "checkpoint/checkpoint.h"
#include "models/model_config.h"

namespace llamlx {

/// One parameter a model must have. The table of these is what loading,
/// verifying and converting work from.
struct TensorSpec {
  std::string name;          ///< Hugging Face's
  mx::Shape shape;           ///< logical
  bool quantizable = false;  ///< the weight of a Linear or an Embedding, or
                             ///< those of experts
};

/// Whether a parameter holds all experts of a layer: its first axis is theirs.
inline bool is_of_experts(const TensorSpec& spec) {
  return spec.shape.size() == 3;
}

/// Every parameter of a model with this config, in the order a token meets
/// them.
std::vector<TensorSpec> tensor_specs(const ModelConfig& config);

/// Checks that `checkpoint` holds exactly the parameters of `config`, in their
/// shapes. An lm_head.weight beside tied embeddings is allowed (and unused).
/// Errors: Error (mismatch) naming the first tensor that is missing, has
/// another shape, or should not be there.
void verify_tensors(const ModelConfig& config, const Checkpoint& checkpoint);

}  // namespace llamlx
