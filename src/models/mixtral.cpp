#include <algorithm>
#include <utility>

#include "models/config_values.h"
#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {
namespace {

// Of a config that does not speak of it.
constexpr float kDefaultTheta = 1e6f;
constexpr double kDefaultEps = 1e-5;

}  // namespace

ModelConfig read_mixtral_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint);
  refuse_biases(checkpoint, {"attention_bias", "mlp_bias"});

  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  result.rms_norm_eps =
      positive_number(config, "rms_norm_eps", subject, kDefaultEps);
  result.rope = read_rope_config(config, subject, kDefaultTheta);
  const auto window = read_sliding_window(config, subject);
  std::ranges::fill(result.layer_windows, window.value_or(0));
  check_layer_types(config, result.num_hidden_layers, window, subject);
  MoeConfig moe{.module = "block_sparse_moe",
                .num_experts = 8,
                .num_experts_per_tok = 2,
                .intermediate_size = result.intermediate_size,
                .norm_topk_prob = true};
  result.moe = read_moe_config(config, subject, "num_local_experts", result,
                               std::move(moe));
  return result;
}

}  // namespace llamlx
