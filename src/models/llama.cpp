#include "models/config_values.h"
#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {

ModelConfig read_llama_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint);
  read_attention_bias(checkpoint, result);
  result.mlp_bias =
      read_bias(checkpoint, "mlp_bias", "model.layers.0.mlp.gate_proj.bias");

  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  const auto window = read_sliding_window(config, subject);
  const auto windows =
      read_layer_types(config, result.num_hidden_layers, window, subject);
  if (window && !windows) {
    // Programs differ in what this means: some ignore it, some let the cache
    // forget.
    fail_unsupported(subject,
                     "a llama with a \"sliding_window\" does not say which "
                     "layers slide",
                     "add \"layer_types\", or remove the window");
  }
  if (windows) result.layer_windows = *windows;
  return result;
}

}  // namespace llamlx
