#include "models/layer_windows.h"
#include "models/registry.h"

namespace llamlx {
namespace {

// Of a config that does not speak of it, whatever the width.
constexpr int kDefaultHeadDim = 128;

}  // namespace

ModelConfig read_qwen3_config(const Checkpoint& checkpoint) {
  auto result = read_common_config(checkpoint, kDefaultHeadDim);
  refuse_biases(checkpoint, {"mlp_bias"});
  read_attention_bias(checkpoint, result);
  result.qk_norm = true;
  result.layer_windows =
      read_qwen_windows(checkpoint.config(), result.num_hidden_layers,
                        checkpoint.path().string());
  return result;
}

}  // namespace llamlx
