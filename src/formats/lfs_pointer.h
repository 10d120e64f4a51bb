#pragma once

#include "base/mapped_file.h"

namespace llamlx {

/// What git leaves of a large file that was not pulled: throws Error
/// (corrupt_file), saying so, when `file` is such a pointer.
void refuse_lfs_pointer(const MappedFile& file);

}  // namespace llamlx
