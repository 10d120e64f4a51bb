#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// Opens a GGUF file as a Checkpoint.
///
/// config(), names, shapes and the files of the tokenizer are Hugging Face's.
/// F16, BF16 and F32 stay as they are, Q4_0 to Q8_0, Q4_K and Q5_K stay
/// quantised (what that loses: gguf_weight_format()). llama.cpp interleaves the
/// two halves of every query and key head (row 2 i + j of a head is Hugging
/// Face's row j * head_dim / 2 + i): load() puts weights and biases back into
/// Hugging Face's order. side_files() throws for a tokenizer that cannot be
/// told in Hugging Face's files; the weights of such a file can be loaded all
/// the same.
///
/// Errors   Error: those of GgufFile, of make_gguf_config() and of
///          gguf_weight_format(); unsupported for architectures and tensors
///          that are not known, by name; mismatch for query or key rows that
///          are not those of the heads.
std::unique_ptr<Checkpoint> open_gguf_checkpoint(
    const std::filesystem::path& path);

}  // namespace llamlx
