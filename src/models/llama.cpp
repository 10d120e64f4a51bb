#include "base/concat.h"
#include "base/error.h"
#include "models/registry.h"

namespace llamlx {

ModelConfig read_llama_config(const Json& config, std::string_view subject) {
  auto result = read_common_config(config, subject);
  const auto act = json_get<std::string>(config, "hidden_act", subject);
  if (act && *act != "silu" && *act != "swish") {
    fail(ErrorCode::unsupported, subject, concat("hidden_act is \"", *act, '"'),
         "llama models with SiLU can be run");
  }
  // Hugging Face's attention_bias speaks of all four projections.
  result.qkv_bias =
      json_get<bool>(config, "attention_bias", subject).value_or(false);
  result.o_bias = result.qkv_bias;
  result.mlp_bias = json_get<bool>(config, "mlp_bias", subject).value_or(false);
  return result;
}

}  // namespace llamlx
