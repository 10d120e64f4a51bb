#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llamlx {

/// The name Hugging Face has for the parameter that Meta, and the npz folders
/// of MLX's llama.py, call `name`; empty when the table has no such module.
///
/// Example: "layers.3.attention.wq.weight" is
/// "model.layers.3.self_attn.q_proj.weight". Parts (".weight", ".bias",
/// ".scales", ".biases") keep their names.
std::optional<std::string> hugging_face_name(std::string_view name);

/// The same the other way.
std::optional<std::string> meta_name(std::string_view name);

/// Whether Meta's `name` is that of rotary frequencies ("rope.freqs", or one a
/// layer), which the config tells.
bool is_rope_frequencies(std::string_view name);

}  // namespace llamlx
