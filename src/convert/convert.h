#pragma once

#include <filesystem>

#include "checkpoint/checkpoint.h"
#include "llamlx/llamlx.h"

namespace llamlx {

/// Writes `checkpoint` as the MLX folder `destination`; llamlx::convert() of
/// the public header is this after Checkpoint::open().
///
/// All that can be known before is checked before a byte is written: the
/// options, every tensor against the config, the destination, and room on its
/// disk. Then one tensor at a time is read, computed and written, in a folder
/// beside the destination that takes its name when complete.
///
/// `on_progress` is called before the first tensor with nothing done and after
/// each; an exception from it ends the conversion and leaves nothing behind.
/// Errors: those of plan_conversion(), Checkpoint::load() and StagedFolder;
/// Error (no_space) when the disk has too little room, (unsupported) when a
/// value is too large for float16, (io_error) when the destination is the
/// source or holds it.
ConvertResult convert_checkpoint(const Checkpoint& checkpoint,
                                 const std::filesystem::path& destination,
                                 const ConvertOptions& options,
                                 const ProgressFn& on_progress);

}  // namespace llamlx
