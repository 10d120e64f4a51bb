#pragma once

#include <string_view>

#include "base/json.h"
#include "checkpoint/tensor_set.h"

namespace llamlx {

/// Whether `config` is told in Meta's words ("dim", "n_layers", ...), those of
/// params.json and of the config.json beside npz weights.
bool is_meta_config(const Json& config);

/// The config.json that Hugging Face would write for a model with `params`:
///
/// - "hidden_dim" and a "vocab_size" that is -1 or absent are the rows of
///   `tensors` (in Hugging Face's names), as multiple_of and ffn_dim_multiplier
///   say how wide a layer is only to who trained it;
/// - "use_scaled_rope" is the scaling of Llama 3.1: a factor of 8, or 32 for
///   the sizes of Llama 3.2, unless "rope_scaling_factor" says otherwise;
/// - what is absent is 10000 ("rope_theta"), true ("rope_traditional") or 1e-5
///   ("norm_eps");
/// - a "sliding_window" makes it a mistral;
/// - keys that are not Meta's stay as they are.
///
/// Errors: Error naming `subject`: corrupt_file for values of the wrong type or
/// missing ones, unsupported for a mixture of experts and other scalings.
/// Source: ModelArgs in the llama-models package; Hugging Face's configs of the
/// same models.
Json hugging_face_config(const Json& params, const TensorSet& tensors,
                         std::string_view subject);

}  // namespace llamlx
