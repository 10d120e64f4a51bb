#include "checkpoint/gguf_family.h"

#include <algorithm>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/parameter_name.h"

namespace llamlx {
namespace {

constexpr GgufModule kModules[] = {
    {"token_embd", "model.embed_tokens"},
    {"output_norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr GgufModule kLlamaLayerModules[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", GgufRows::query_permuted},
    {"attn_k", "self_attn.k_proj", GgufRows::key_permuted},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

// Other families pair the halves of a head as Hugging Face does.
constexpr GgufModule kQwenLayerModules[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},
    {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"},
};

constexpr GgufFamily kFamilies[] = {
    {"llama", "llama", "LlamaForCausalLM", kModules, kLlamaLayerModules},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", kModules, kQwenLayerModules},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", kModules, kQwenLayerModules},
};

std::string known_architectures() {
  std::string names;
  for (const auto& family : kFamilies) {
    names += concat(names.empty() ? "" : ", ", family.architecture);
  }
  return names;
}

}  // namespace

const GgufFamily& find_gguf_family(const GgufFile& file) {
  const auto subject = file.path().string();
  const auto type = file.get<std::string_view>("general.type");
  if (type && *type != "model") {
    fail(ErrorCode::unsupported, subject, concat("holds a ", *type),
         "give the GGUF file of the model itself");
  }
  if (file.get<std::int64_t>("split.count").value_or(1) > 1) {
    fail(ErrorCode::unsupported, subject, "is one part of a split GGUF file",
         "join the parts with llama-gguf-split --merge");
  }
  const auto name = file.require<std::string_view>("general.architecture");
  const auto found =
      std::ranges::find(kFamilies, name, &GgufFamily::architecture);
  if (found != std::end(kFamilies)) return *found;
  fail(ErrorCode::unsupported, subject,
       concat("the architecture is \"", name, '"'),
       concat("these can be read from GGUF: ", known_architectures()));
}

std::optional<GgufTensorName> find_gguf_tensor_name(const GgufFamily& family,
                                                    std::string_view name) {
  const auto parsed = parse_parameter_name(name, "blk.");
  if (!parsed) return {};
  const auto& [layer, module, part] = *parsed;
  if (part != ".weight" && part != ".bias") return {};
  const auto& table = layer ? family.layer_modules : family.modules;
  const auto found = std::ranges::find(table, module, &GgufModule::name);
  if (found == table.end()) return {};
  const auto prefix = layer ? concat("model.layers.", *layer, ".") : "";
  return GgufTensorName{concat(prefix, found->hugging_face_name, part), layer,
                        found->rows};
}

}  // namespace llamlx
