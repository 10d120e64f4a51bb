#pragma once

#include <filesystem>

#include "formats/torch_contents.h"

namespace llamlx {

/// Reads all but the values of a file that torch has saved since 1.6.
///
/// Layout   a zip archive of one folder, of any name: data.pkl, the object,
///          whose storages are persistent values; data/KEY, the values of a
///          storage, stored (torch aligns them to 64 bytes); byteorder,
///          "little" or "big" (since 2.1; little without). Others say nothing
///          of tensors.
/// Checks   one folder has a data.pkl; it is one pickle, of 64 MiB at most;
///          every storage has its entry, not compressed, of at least the bytes
///          the object speaks of. Their CRCs are for verify().
/// Errors   those of ZipFile; Error: corrupt_file; unsupported as
/// read_pickle(),
///          for big-endian values, compressed storages, and TorchScript.
/// Source   https://pytorch.org/docs/stable/notes/serialization.html
TorchContents read_torch_zip(const std::filesystem::path& path);

}  // namespace llamlx
