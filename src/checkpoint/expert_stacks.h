#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "checkpoint/tensor_set.h"

namespace llamlx {

/// The name of one expert's weight, taken apart.
struct ExpertName {
  std::string stack;  ///< the name of the weight of all experts
  int expert;
};

/// What Hugging Face stores expert by expert, [F, D] each, mlx_lm stores, and
/// everything here calls, as one weight [E, F, D]:
/// "model.layers.0.mlp.experts.3.up_proj.weight" is expert 3 of
/// "model.layers.0.mlp.switch_mlp.up_proj.weight". Mixtral says
/// "block_sparse_moe" for the mlp, and "w1", "w3" and "w2" for its gate_proj,
/// up_proj and down_proj. Empty for names of anything else.
std::optional<ExpertName> parse_expert_name(std::string_view name);

/// The name of expert `expert` of `stack`, an ExpertName::stack.
std::string expert_name(std::string_view stack, int expert);

/// `weights` with those of experts that are stored apart joined, sorted by
/// name.
/// Errors: Error (mismatch), naming the tensor, where one expert is missing,
/// differs from the others, or is there twice.
std::vector<WeightInfo> join_experts(std::vector<WeightInfo> weights,
                                     const TensorSet& tensors);

/// Whether `info`, one of list_weights(), was joined.
bool is_stack(const TensorSet& tensors, const WeightInfo& info);

/// Reads one expert of a weight that was: [1, F, D]. Errors: as load_weight().
Weight load_expert(const TensorSet& tensors, const WeightInfo& info,
                   int expert);

/// Reads all of them, one after another, into memory of their own. Errors: as
/// load_weight().
Weight load_stack(const TensorSet& tensors, const WeightInfo& info);

}  // namespace llamlx
