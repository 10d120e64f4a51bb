#pragma once

#include <memory>

#include "base/mapped_file.h"
#include "formats/torch_contents.h"

namespace llamlx {

/// Reads all but the values of a file that torch before 1.6 saved, and later
/// ones with _use_new_zipfile_serialization=False.
///
/// Layout   five pickles, one after another: the number
///          0x1950a86a20f9469cfc6c; the version, 1001; a dict about the machine
///          ("little_endian": True); the object, whose storages are persistent
///          values; the list of the storages' keys. Then, in that order, for
///          every storage an int64, its number of values, and those values,
///          little end first, unaligned.
/// Checks   the keys are those of the object, once each; the numbers of values
///          are those the object speaks of; all bytes are there. What comes
///          after them is not looked at, as torch does.
/// Errors   Error: corrupt_file; unsupported as read_pickle(), for another
///          version and for big-endian values.
/// Source   torch/serialization.py (_legacy_save, _legacy_load)
TorchContents read_torch_stream(std::shared_ptr<const MappedFile> file);

}  // namespace llamlx
