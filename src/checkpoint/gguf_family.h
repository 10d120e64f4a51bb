#pragma once

#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "formats/gguf_reader.h"

namespace llamlx {

/// What a converter to GGUF did to the rows of a module.
enum class GgufRows {
  kept,
  query_permuted,  ///< rows of a head's halves interleaved, for every head
  key_permuted,    ///< the same for every key/value head
};

/// A module's name in GGUF and in Hugging Face's checkpoints; in a layer both
/// are what follows "blk.N." and "model.layers.N.".
struct GgufModule {
  std::string_view name;
  std::string_view hugging_face_name;
  GgufRows rows = GgufRows::kept;
};

/// A model architecture as GGUF tells it. A new family is one row of the table
/// in gguf_family.cpp.
struct GgufFamily {
  std::string_view architecture;  ///< "general.architecture", prefix of keys
  std::string_view model_type;    ///< config.json's
  std::string_view model_class;   ///< config.json's "architectures"
  std::span<const GgufModule> modules;        ///< outside the layers
  std::span<const GgufModule> layer_modules;  ///< of every layer
  /// How config.json spells the number of experts; null: there are none. One
  /// architecture may be that of two families then.
  const char* experts_key = nullptr;
};

/// The family of `file`. Errors: Error (unsupported) naming the architecture,
/// also for files that hold something other than a whole model.
const GgufFamily& find_gguf_family(const GgufFile& file);

/// A tensor's place in the model.
struct GgufTensorName {
  std::string hugging_face_name;  ///< "model.layers.0.mlp.up_proj.weight"
  std::optional<int> layer;       ///< empty outside the layers
  GgufRows rows;
};

/// Finds the place of the tensor that GGUF calls `name`; empty when `family`
/// has no such tensor.
std::optional<GgufTensorName> find_gguf_tensor_name(const GgufFamily& family,
                                                    std::string_view name);

}  // namespace llamlx
