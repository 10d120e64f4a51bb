#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// Whether `folder` holds weights as Meta distributes them: consolidated.00.pth
/// and so on, or one consolidated.safetensors.
bool holds_meta_shards(const std::filesystem::path& folder);

/// Opens a folder of params.json and consolidated.NN.pth. The shards are taken
/// in the order of their numbers, whatever the folder lists first, and joined
/// as MetaShards says.
///
/// The tokenizer may lie in the folder or one above it, where Meta's download
/// script puts it.
///
/// Errors: Error: not_found without params.json, or for a number that is
/// missing between others; mismatch for two files of one number; those of
/// MetaShards, hugging_face_config() and list_weights().
std::unique_ptr<Checkpoint> open_meta_checkpoint(
    const std::filesystem::path& folder);

}  // namespace llamlx
