#include "checkpoint/gguf_family.h"

#include <algorithm>
#include <utility>

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

constexpr GgufModule kMixtralLayerModules[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj", GgufRows::query_permuted},
    {"attn_k", "self_attn.k_proj", GgufRows::key_permuted},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate_inp", "block_sparse_moe.gate"},
    {"ffn_gate_exps", "block_sparse_moe.switch_mlp.gate_proj"},
    {"ffn_up_exps", "block_sparse_moe.switch_mlp.up_proj"},
    {"ffn_down_exps", "block_sparse_moe.switch_mlp.down_proj"},
};

constexpr GgufModule kQwen3MoeLayerModules[] = {
    {"attn_norm", "input_layernorm"},
    {"attn_q", "self_attn.q_proj"},
    {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k", "self_attn.k_proj"},
    {"attn_k_norm", "self_attn.k_norm"},
    {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"},
    {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate_inp", "mlp.gate"},
    {"ffn_gate_exps", "mlp.switch_mlp.gate_proj"},
    {"ffn_up_exps", "mlp.switch_mlp.up_proj"},
    {"ffn_down_exps", "mlp.switch_mlp.down_proj"},
};

constexpr GgufFamily kFamilies[] = {
    {"llama", "llama", "LlamaForCausalLM", kModules, kLlamaLayerModules},
    {"llama", "mixtral", "MixtralForCausalLM", kModules, kMixtralLayerModules,
     "num_local_experts"},
    {"qwen2", "qwen2", "Qwen2ForCausalLM", kModules, kQwenLayerModules},
    {"qwen3", "qwen3", "Qwen3ForCausalLM", kModules, kQwenLayerModules},
    {"qwen3moe", "qwen3_moe", "Qwen3MoeForCausalLM", kModules,
     kQwen3MoeLayerModules, "num_experts"},
};

std::string known_architectures() {
  std::string names;
  std::string_view last;
  for (const auto& family : kFamilies) {
    const auto name = std::exchange(last, family.architecture);
    if (name == last) continue;
    names += concat(names.empty() ? "" : ", ", last);
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
  const auto experts = file.get<std::int64_t>(concat(name, ".expert_count"));
  const bool has_experts = experts.value_or(0) != 0;
  const auto is_known = [&](const GgufFamily& family) {
    return family.architecture == name;
  };
  const auto found =
      std::ranges::find_if(kFamilies, [&](const GgufFamily& family) {
        return is_known(family) &&
               (family.experts_key != nullptr) == has_experts;
      });
  if (found != std::end(kFamilies)) return *found;
  if (std::ranges::any_of(kFamilies, is_known)) {
    fail(ErrorCode::unsupported, subject,
         concat("the model is a ", name,
                has_experts ? ", and a mixture of experts"
                            : " that has no experts"),
         "take the model's safetensors instead");
  }
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
