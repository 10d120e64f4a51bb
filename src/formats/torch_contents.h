#pragma once

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "base/mapped_file.h"
#include "formats/torch_state.h"
#include "formats/zip_reader.h"

namespace llamlx {

/// What a torch file of either format holds.
struct TorchContents {
  std::shared_ptr<const MappedFile> file;
  TorchState state;
  /// Of state.storages, in `file`: as many as its tensors need, or more.
  std::vector<std::span<const std::byte>> storages;
  /// Checks the bytes of a storage against their checksum, where the format
  /// has one; else empty. Errors: Error (corrupt_file).
  std::function<void(std::size_t storage, PagesRead pages)> verify;
};

}  // namespace llamlx
