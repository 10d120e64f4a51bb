#pragma once

#include <string>
#include <string_view>

#include "base/json.h"
#include "tensor/weight.h"

namespace llamlx {

/// What config.json says of packed weights, in mlx_lm's words: "quantization"
/// (or, without it, "quantization_config") holds "group_size", "bits", "mode"
/// ("affine" when absent) for all modules, and under a module's path the same
/// for that module alone, or true or false. A module's own object inherits
/// nothing: what it leaves out is MLX's default ("affine", and the mode's own
/// group size and bits).
///
/// Errors: Error naming config.json: unsupported for other schemes ("gptq",
/// "awq", ...), which name themselves under "quant_method", for modes that are
/// not known, and for bits and group sizes that a mode does not have;
/// corrupt_file for values of the wrong type.
/// Source: https://github.com/ml-explore/mlx-lm, mlx_lm/utils.py, load_model.
class QuantizationConfig {
 public:
  /// `subject` names the config file in messages.
  QuantizationConfig(const Json& config, std::string subject);

  /// How the weight of `module`, a path such as "model.embed_tokens", is
  /// packed, given that it is. Errors: also mismatch when the config says
  /// nothing of quantisation, or that this module is not quantised.
  Quantization of(const std::string& module) const;

 private:
  Quantization parse(const Json& settings, const std::string& module,
                     bool with_defaults) const;

  Json settings_;
  std::string subject_;
};

}  // namespace llamlx
