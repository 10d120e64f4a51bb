#pragma once

#include <filesystem>
#include <memory>

#include "checkpoint/checkpoint.h"

namespace llamlx {

/// Opens a folder of config.json and safetensors, as Hugging Face and MLX write
/// them; ShardSet says which files count.
///
/// A weight is quantised when `<module>.scales` stands beside
/// `<module>.weight`; it then needs `<module>.biases` too, and
/// QuantizationConfig says how it is packed. (The bias of a linear layer is
/// `<module>.bias`.) Rotary frequencies (`*.rotary_emb.inv_freq`), which old
/// checkpoints carry and config.json tells, are left out.
///
/// Errors: Error: not_found without config.json; unsupported for dense weights
/// other than float16, bfloat16 and float32; mismatch when the parts of a
/// quantised weight do not fit each other or the config; and those of ShardSet
/// and QuantizationConfig.
std::unique_ptr<Checkpoint> open_folder_checkpoint(
    const std::filesystem::path& folder);

}  // namespace llamlx
