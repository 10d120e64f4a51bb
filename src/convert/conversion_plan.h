#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "formats/safetensors_writer.h"
#include "llamlx/llamlx.h"
#include "models/model_config.h"

namespace llamlx {

/// One parameter of the model that is written: where it comes from and what it
/// becomes.
struct PlannedWeight {
  WeightInfo source;
  /// Of the values as they are written, or are packed; as Weight::dtype() where
  /// they are kept.
  mx::Dtype dtype;
  std::optional<Quantization> quantization = {};  ///< as written
  bool is_kept = false;                           ///< no value is computed
  /// Rows come into Hugging Face's order (checkpoint/rope_rows.h).
  bool is_reordered = false;
  std::string name = source.name;  ///< as written
};

/// All that a conversion will write, known before it begins.
struct ConversionPlan {
  ModelLayout layout = ModelLayout::mlx;
  std::vector<PlannedWeight> weights;  ///< sorted by name as written
  OrderedJson config;                  ///< config.json of the new folder
  int head_dim = 0;
  std::int64_t parameters = 0;
  std::uint64_t weight_bytes = 0;
  std::vector<std::string> notices;
};

/// The arrays `weight` is written as, in the order of their names:
/// "<module>.weight", or those of parts_of(): "<module>.biases", if it has any,
/// ".scales" and ".weight".
std::vector<PlannedTensor> planned_tensors(const PlannedWeight& weight);

/// Decides what becomes of every parameter of `checkpoint`:
///
/// - without options all of them are kept as they are, quantised or not;
/// - with `dtype` values become that type, and quantised weights dense;
/// - with `quantize` all values become one type: `dtype`, or else the type most
///   of the source has (bfloat16 for a quantised GGUF, whose types say nothing
///   of the model's); then the weights of linear layers and embeddings are
///   quantised whose last axis the group size divides. A source that is
///   quantised already is expanded first.
///
/// Parameters that the model does not use are left out, with a notice. In the
/// layout mlx, queries and keys that lie in Meta's order come into Hugging
/// Face's. In the layout seed the output layer of tied embeddings is written
/// as well, since llama.py needs it, and what it cannot express is refused:
/// groups must divide every linear layer.
///
/// Errors: std::invalid_argument for options out of range; Error (mismatch)
/// when the tensors are not those of the config.
ConversionPlan plan_conversion(const Checkpoint& checkpoint,
                               const ModelConfig& model,
                               const ConvertOptions& options);

/// Throws std::invalid_argument for modes, bits, group sizes or dtypes that do
/// not exist, alone or together.
void check_options(const ConvertOptions& options);

/// How `options` have weights packed: what they leave open is the mode's.
/// Errors: std::invalid_argument for a mode that does not exist.
Quantization wanted_quantization(const ConvertOptions& options);

}  // namespace llamlx
