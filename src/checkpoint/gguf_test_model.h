#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/concat.h"
#include "formats/gguf_testing.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

/// `count` float32 values, `first`, `first` + 1, ...
inline std::string counting_floats(std::size_t count, int first = 0) {
  std::string bytes;
  for (std::size_t i = 0; i < count; ++i) {
    bytes += raw(static_cast<float>(first) + static_cast<float>(i));
  }
  return bytes;
}

/// A model in F32: 2 layers, 8 wide, 2 query heads of 4 over 1 key/value head,
/// 16 in the MLP, 6 tokens, tied embeddings, no tokenizer. With `experts`, of
/// which a token goes to two, they are 5 wide.
inline GgufBuilder tiny_gguf(const std::string& architecture,
                             std::uint32_t experts = 0) {
  const auto prefix = architecture + ".";
  GgufBuilder file;
  file.set("general.architecture", architecture)
      .set(prefix + "block_count", std::uint32_t{2})
      .set(prefix + "context_length", std::uint32_t{64})
      .set(prefix + "embedding_length", std::uint32_t{8})
      .set(prefix + "feed_forward_length", std::uint32_t{16})
      .set(prefix + "attention.head_count", std::uint32_t{2})
      .set(prefix + "attention.head_count_kv", std::uint32_t{1})
      .set(prefix + "attention.layer_norm_rms_epsilon", 1e-5f)
      .set(prefix + "rope.dimension_count", std::uint32_t{4});
  const auto add = [&](const std::string& name, std::uint64_t in,
                       std::uint64_t out) {
    file.add(name + ".weight", {in, out}, GgmlType::f32,
             counting_floats(in * out));
  };
  const auto add_experts = [&](const std::string& name, std::uint64_t in,
                               std::uint64_t out) {
    file.add(name + ".weight", {in, out, experts}, GgmlType::f32,
             counting_floats(in * out * experts));
  };
  const auto add_norm = [&](const std::string& name) {
    file.add(name + ".weight", {8}, GgmlType::f32, counting_floats(8));
  };
  add("token_embd", 8, 6);
  add_norm("output_norm");
  for (int layer = 0; layer < 2; ++layer) {
    const auto block = concat("blk.", layer, ".");
    add_norm(block + "attn_norm");
    add_norm(block + "ffn_norm");
    add(block + "attn_q", 8, 8);
    add(block + "attn_k", 8, 4);
    add(block + "attn_v", 8, 4);
    add(block + "attn_output", 8, 8);
    if (experts > 0) {
      add(block + "ffn_gate_inp", 8, experts);
      add_experts(block + "ffn_gate_exps", 8, 5);
      add_experts(block + "ffn_up_exps", 8, 5);
      add_experts(block + "ffn_down_exps", 5, 8);
      continue;
    }
    add(block + "ffn_gate", 8, 16);
    add(block + "ffn_up", 8, 16);
    add(block + "ffn_down", 16, 8);
  }
  if (experts == 0) return file;
  file.set(prefix + "expert_count", experts)
      .set(prefix + "expert_used_count", std::uint32_t{2})
      .set(prefix + "expert_feed_forward_length", std::uint32_t{5});
  return file;
}

inline GgufBuilder tiny_llama() { return tiny_gguf("llama"); }

}  // namespace llamlx::testing
