#include "base/error.h"
#include "models/config_values.h"
#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {

ModelConfig read_qwen2_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint);
  const auto& config = checkpoint.config();
  const auto subject = checkpoint.path().string();
  refuse_biases(checkpoint, {"mlp_bias"});
  if (!json_get<bool>(config, "attention_bias", subject).value_or(true)) {
    fail_unsupported(subject, "\"attention_bias\" is false",
                     "a qwen2 has biases on its queries, keys and values");
  }
  if (json_get<bool>(config, "use_mrope", subject).value_or(false)) {
    fail_unsupported(subject, "\"use_mrope\" is true",
                     "text models of one position a token can be run");
  }
  result.qkv_bias = true;
  result.layer_windows =
      read_qwen_windows(config, result.num_hidden_layers, subject);
  return result;
}

}  // namespace llamlx
