#include "models/layer_windows.h"

#include "base/concat.h"
#include "base/error.h"
#include "models/config_values.h"

namespace llamlx {
namespace {

constexpr int kQwenWindow = 4096;
constexpr int kQwenMaxWindowLayers = 28;

int window_of_type(const Json& type, std::optional<int> window,
                   std::string_view subject) {
  if (!type.is_string()) {
    fail_value(subject, "\"layer_types\" holds something other than names");
  }
  const auto& name = type.get_ref<const std::string&>();
  // Transformers 4 wrote "attention" for some models.
  if (name == "full_attention" || name == "attention") return 0;
  if (name != "sliding_attention") {
    fail_unsupported(
        subject, concat("\"layer_types\" names a \"", name, '"'),
        "layers of full_attention and sliding_attention can be run");
  }
  if (window) return *window;
  fail_unsupported(subject,
                   "\"layer_types\" names a \"sliding_attention\", but no "
                   "\"sliding_window\" is in force",
                   "correct config.json");
}

}  // namespace

std::optional<int> read_sliding_window(const Json& config,
                                       std::string_view subject) {
  const auto window = json_get<int>(config, "sliding_window", subject);
  if (window && *window < 1) {
    fail_value(subject, concat("\"sliding_window\" is ", *window));
  }
  return window;
}

std::optional<LayerWindows> read_layer_types(const Json& config, int num_layers,
                                             std::optional<int> window,
                                             std::string_view subject) {
  const auto found = config.find("layer_types");
  if (found == config.end() || found->is_null()) return {};
  if (!found->is_array() ||
      found->size() != static_cast<std::size_t>(num_layers)) {
    fail_value(subject, concat("\"layer_types\" is not a list of ", num_layers,
                               ", one a layer"));
  }
  LayerWindows windows;
  for (const auto& type : *found) {
    windows.push_back(window_of_type(type, window, subject));
  }
  return windows;
}

void check_layer_types(const Json& config, int num_layers,
                       std::optional<int> window, std::string_view subject) {
  const auto types = read_layer_types(config, num_layers, window, subject);
  if (!types || *types == LayerWindows(num_layers, window.value_or(0))) return;
  fail_unsupported(subject,
                   "its \"layer_types\" differ from its \"sliding_window\", "
                   "which speaks of all layers",
                   "make config.json say one of the two");
}

LayerWindows read_qwen_windows(const Json& config, int num_layers,
                               std::string_view subject) {
  std::optional<int> window;
  if (json_get<bool>(config, "use_sliding_window", subject).value_or(false)) {
    window = read_sliding_window(config, subject);
    // Null means no window; a key that is absent means the default one.
    if (!config.contains("sliding_window")) window = kQwenWindow;
  }
  if (auto types = read_layer_types(config, num_layers, window, subject)) {
    return *std::move(types);
  }
  const int first = json_get<int>(config, "max_window_layers", subject)
                        .value_or(kQwenMaxWindowLayers);
  if (first < 0) {
    fail_value(subject, concat("\"max_window_layers\" is ", first));
  }
  LayerWindows windows(num_layers, 0);
  for (int layer = first; layer < num_layers; ++layer) {
    windows[layer] = window.value_or(0);
  }
  return windows;
}

}  // namespace llamlx
