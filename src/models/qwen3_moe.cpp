#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/concat.h"
#include "models/config_values.h"
#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {
namespace {

// Of a config that does not speak of them.
constexpr int kDefaultExperts = 128;
constexpr int kDefaultExpertsPerTok = 8;
constexpr int kDefaultInner = 768;
constexpr int kDefaultWindow = 4096;

/// Transformers 5 writes the number of experts as Mixtral does.
const char* count_key(const Json& config, std::string_view subject) {
  constexpr const char* kKey = "num_experts";
  constexpr const char* kNewKey = "num_local_experts";
  const auto count = json_get<int>(config, kKey, subject);
  const auto new_count = json_get<int>(config, kNewKey, subject);
  if (count && new_count && *count != *new_count) {
    fail_value(subject, concat('"', kKey, "\" is ", *count, ", but \"", kNewKey,
                               "\" is ", *new_count));
  }
  return count ? kKey : kNewKey;
}

/// Takes the layers out that have one mlp: those that "mlp_only_layers" names,
/// and those that "decoder_sparse_step" steps over.
void read_layers(const Json& config, std::string_view subject, MoeConfig& moe) {
  constexpr const char* kKey = "mlp_only_layers";
  const auto step = static_cast<std::size_t>(
      optional_size(config, "decoder_sparse_step", subject, 1));
  for (std::size_t layer = 0; layer < moe.layers.size(); ++layer) {
    moe.layers[layer] = (layer + 1) % step == 0;
  }
  const auto found = config.find(kKey);
  if (found == config.end() || found->is_null()) return;
  if (!found->is_array()) {
    fail_value(subject, concat('"', kKey, "\" is not a list of layers"));
  }
  for (const auto& layer : *found) {
    if (!layer.is_number_integer()) {
      fail_value(subject, concat('"', kKey, "\" is not a list of layers"));
    }
    // As transformers does, which asks whether a layer is in the list.
    const auto index = layer.get<std::int64_t>();
    if (index >= 0 && index < std::ssize(moe.layers)) {
      moe.layers[static_cast<std::size_t>(index)] = false;
    }
  }
}

}  // namespace

ModelConfig read_qwen3_moe_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint);
  refuse_biases(checkpoint, {"mlp_bias"});
  read_attention_bias(checkpoint, result);
  result.qk_norm = true;

  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  std::optional<int> window;
  if (json_get<bool>(config, "use_sliding_window", subject).value_or(false)) {
    window = read_sliding_window(config, subject);
    if (!config.contains("sliding_window")) window = kDefaultWindow;
    std::ranges::fill(result.layer_windows, window.value_or(0));
  }
  check_layer_types(config, result.num_hidden_layers, window, subject);
  MoeConfig moe{
      .module = "mlp",
      .num_experts = kDefaultExperts,
      .num_experts_per_tok = kDefaultExpertsPerTok,
      .intermediate_size = optional_size(config, "moe_intermediate_size",
                                         subject, kDefaultInner),
      .norm_topk_prob =
          json_get<bool>(config, "norm_topk_prob", subject).value_or(false)};
  result.moe = read_moe_config(config, subject, count_key(config, subject),
                               result, std::move(moe));
  read_layers(config, subject, result.moe);
  return result;
}

}  // namespace llamlx
