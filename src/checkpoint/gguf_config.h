#pragma once

#include "base/json.h"
#include "checkpoint/gguf_family.h"
#include "formats/gguf_reader.h"

namespace llamlx {

/// The config.json that the metadata and the tensors of `file` amount to.
///
/// Numbers stored as float32 are given by their shortest decimal (1e-05, not
/// 9.999999747378752e-06). "tie_word_embeddings" is true when there is no
/// output matrix. "attention_bias" and "mlp_bias" are left open when only some
/// of their projections have one. The divisors that llama.cpp stores for Llama
/// 3's rotary frequencies are told as "rope_scaling" of the kind "llama3".
///
/// Errors: Error: corrupt_file for keys that are missing or make no sense,
/// mismatch for metadata that contradict the tensors, unsupported for what the
/// config of a Llama cannot tell (layers that differ, rotary positions for
/// a part of each head, experts, other scaling).
Json make_gguf_config(const GgufFile& file, const GgufFamily& family);

}  // namespace llamlx
