#pragma once

#include <vector>

#include "base/json.h"
#include "convert/conversion_plan.h"
#include "models/model_config.h"

namespace llamlx {

/// The config.json of a converted model: `source` with what the conversion
/// changed, in the spelling mlx_lm reads.
///
/// - "quantization" and its twin "quantization_config": group_size, bits and
///   mode of most weights, and under its module's path an entry for each weight
///   that differs; absent when every weight is dense. (A module without an
///   entry is quantised if it has scales: dense ones need none.)
/// - "torch_dtype", and "dtype" where the source has it: the type of most
///   values.
/// - what the source leaves open and readers guess differently is said: tied
///   embeddings, biases, and rotary positions that only "rope_parameters"
///   described.
/// - "_name_or_path", a path on another machine, is dropped.
///
/// `rope_traditional` is dropped where the plan brings the rows of queries and
/// keys into Hugging Face's order.
Json converted_config(const Json& source, const ModelConfig& model,
                      const std::vector<PlannedWeight>& weights);

/// "quantization" as said above; null when every weight is dense.
Json quantization_of(const std::vector<PlannedWeight>& weights);

}  // namespace llamlx
