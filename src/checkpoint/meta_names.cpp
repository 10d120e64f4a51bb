#include "checkpoint/meta_names.h"

#include <algorithm>
#include <span>

#include "base/concat.h"
#include "checkpoint/parameter_name.h"

namespace llamlx {
namespace {

/// What a module is called in two vocabularies; in a layer both are what
/// follows the layer's number.
struct ModuleNames {
  std::string_view meta;
  std::string_view hugging_face;
};

constexpr ModuleNames kModules[] = {
    {"tok_embeddings", "model.embed_tokens"},
    {"norm", "model.norm"},
    {"output", "lm_head"},
};

constexpr ModuleNames kLayerModules[] = {
    {"attention_norm", "input_layernorm"},
    {"attention.wq", "self_attn.q_proj"},
    {"attention.wk", "self_attn.k_proj"},
    {"attention.wv", "self_attn.v_proj"},
    {"attention.wo", "self_attn.o_proj"},
    {"attention.q_norm", "self_attn.q_norm"},
    {"attention.k_norm", "self_attn.k_norm"},
    {"ffn_norm", "post_attention_layernorm"},
    {"feed_forward.w1", "mlp.gate_proj"},
    {"feed_forward.w2", "mlp.down_proj"},
    {"feed_forward.w3", "mlp.up_proj"},
};

constexpr std::string_view kMetaLayers = "layers.";
constexpr std::string_view kHuggingFaceLayers = "model.layers.";

using Names = std::string_view ModuleNames::*;

std::optional<std::string> translate(std::string_view name, Names from,
                                     std::string_view from_layers, Names to,
                                     std::string_view to_layers) {
  const auto parsed = parse_parameter_name(name, from_layers);
  if (!parsed) return {};
  const std::span<const ModuleNames> table =
      parsed->layer ? std::span<const ModuleNames>(kLayerModules) : kModules;
  const auto found = std::ranges::find(table, parsed->module, from);
  if (found == table.end()) return {};
  const auto prefix =
      parsed->layer ? concat(to_layers, *parsed->layer, ".") : "";
  return concat(prefix, (*found).*to, parsed->part);
}

}  // namespace

std::optional<std::string> hugging_face_name(std::string_view name) {
  return translate(name, &ModuleNames::meta, kMetaLayers,
                   &ModuleNames::hugging_face, kHuggingFaceLayers);
}

std::optional<std::string> meta_name(std::string_view name) {
  return translate(name, &ModuleNames::hugging_face, kHuggingFaceLayers,
                   &ModuleNames::meta, kMetaLayers);
}

bool is_rope_frequencies(std::string_view name) {
  return name == "rope.freqs" || name.ends_with(".rope.freqs");
}

}  // namespace llamlx
