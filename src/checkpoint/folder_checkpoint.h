#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// Opens a folder of config.json and weights, as Hugging Face and MLX write
/// them; ShardSet says which files count.
///
/// Errors: Error: not_found without config.json; and those of ShardSet and
/// list_weights (tensor_set.h).
std::unique_ptr<Checkpoint> open_folder_checkpoint(
    const std::filesystem::path& folder);

/// The files of `folder` that accompany weights: tokenizer, template,
/// generation settings.
std::vector<SideFile> find_side_files(const std::filesystem::path& folder);

}  // namespace llamlx
