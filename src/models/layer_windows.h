#pragma once

#include <optional>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace llamlx {

/// For every layer how many positions a row sees, its own included; 0: all.
using LayerWindows = std::vector<int>;

/// "sliding_window"; empty when absent or null. Errors: Error (corrupt_file)
/// for less than 1.
std::optional<int> read_sliding_window(const Json& config,
                                       std::string_view subject);

/// Reads "layer_types": `window` where a layer is a "sliding_attention", 0
/// where it is a "full_attention". Empty when absent or null.
/// Errors: Error: unsupported for other types and for layers that slide
/// without a window, corrupt_file when they are not one a layer.
std::optional<LayerWindows> read_layer_types(const Json& config, int num_layers,
                                             std::optional<int> window,
                                             std::string_view subject);

/// For families whose layers all slide by `window`, or none: refuses
/// "layer_types" that say otherwise. Errors: also Error (unsupported).
void check_layer_types(const Json& config, int num_layers,
                       std::optional<int> window, std::string_view subject);

/// Qwen's rule: "sliding_window" counts when "use_sliding_window" says so;
/// then the layers from "max_window_layers" on slide, or those that
/// "layer_types" names. Absent keys are as in transformers' Qwen2Config.
/// Errors: as read_layer_types.
LayerWindows read_qwen_windows(const Json& config, int num_layers,
                               std::string_view subject);

}  // namespace llamlx
