#include "checkpoint/meta_names.h"

#include <utility>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

constexpr std::pair<const char*, const char*> kPairs[] = {
    {"tok_embeddings.weight", "model.embed_tokens.weight"},
    {"norm.weight", "model.norm.weight"},
    {"output.scales", "lm_head.scales"},
    {"layers.0.attention_norm.weight", "model.layers.0.input_layernorm.weight"},
    {"layers.31.attention.wq.bias", "model.layers.31.self_attn.q_proj.bias"},
    {"layers.1.attention.wk.weight", "model.layers.1.self_attn.k_proj.weight"},
    {"layers.1.attention.wv.weight", "model.layers.1.self_attn.v_proj.weight"},
    {"layers.1.attention.wo.biases", "model.layers.1.self_attn.o_proj.biases"},
    {"layers.2.ffn_norm.weight",
     "model.layers.2.post_attention_layernorm.weight"},
    {"layers.2.feed_forward.w1.weight", "model.layers.2.mlp.gate_proj.weight"},
    {"layers.2.feed_forward.w2.weight", "model.layers.2.mlp.down_proj.weight"},
    {"layers.2.feed_forward.w3.weight", "model.layers.2.mlp.up_proj.weight"},
};

TEST(MetaNamesTest, TranslatesBothWays) {
  for (const auto& [meta, hugging_face] : kPairs) {
    EXPECT_EQ(hugging_face_name(meta), hugging_face);
    EXPECT_EQ(meta_name(hugging_face), meta);
  }
}

TEST(MetaNamesTest, KnowsNoOtherNames) {
  for (const char* name :
       {"", "norm", "rope.freqs", "layers.norm.weight", "layers.01.ffn_norm.w",
        "layers.-1.ffn_norm.weight", "layers.1.attention.wz.weight",
        "layers.99999999999.ffn_norm.weight", "layers.1.weight",
        "model.norm.weight"}) {
    EXPECT_EQ(hugging_face_name(name), std::nullopt) << name;
  }
}

}  // namespace
}  // namespace llamlx
