#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// Opens a folder of config.json and weights in Hugging Face's names, as
/// Hugging Face and MLX write them; ShardSet says which files count.
///
/// Errors: Error: not_found without config.json; and those of ShardSet and
/// list_weights (tensor_set.h).
std::unique_ptr<Checkpoint> open_folder_checkpoint(
    const std::filesystem::path& folder);

}  // namespace llamlx
