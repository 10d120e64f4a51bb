#include <algorithm>

#include "models/config_values.h"
#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {
namespace {

// Of a config that does not speak of the window; null is none.
constexpr int kDefaultWindow = 4096;

}  // namespace

ModelConfig read_mistral_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint);
  refuse_biases(checkpoint, {"attention_bias", "mlp_bias"});

  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  auto window = read_sliding_window(config, subject);
  if (!config.contains("sliding_window")) window = kDefaultWindow;
  std::ranges::fill(result.layer_windows, window.value_or(0));
  check_layer_types(config, result.num_hidden_layers, window, subject);
  return result;
}

}  // namespace llamlx
