#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "formats/tensor_file.h"
#include "formats/torch_contents.h"

namespace llamlx {

/// A file of torch.save (.pth, .pt, .bin) with a state dict, mapped. Its pickle
/// is read as data by read_pickle(): nothing in it is ever executed.
///
/// Layout   one of two: a zip archive, since torch 1.6 (read_torch_zip), or a
///          stream of pickles and values, before (read_torch_stream). Either
///          has a pickle that says which tensors there are and where their
///          values lie in storages; read_torch_state() says which dicts are
///          taken for a state dict, torch_globals() which names a pickle may
///          have. Tensors may be views: any strides, shared storages.
/// Checks   every value of every tensor lies in its storage, and every storage
///          in the file, before any is read. A storage of a zip archive is
///          held against its CRC when it is first read.
/// Cost     opening reads the pickle and the archive's directory alone.
/// Errors   Error: not_found, io_error, corrupt_file; unsupported naming what a
///          plain file of tensors has not: names that are not of the list
///          ("os.system"), quantized and sparse tensors, big-endian values, the
///          tar files of torch's first releases, TorchScript.
/// Threads  const members may be called from several threads.
/// Source   https://pytorch.org/docs/stable/notes/serialization.html
class TorchFile final : public TensorFile {
 public:
  explicit TorchFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const override {
    return contents_.file->path();
  }
  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  mx::array read(const TensorEntry& entry) const override;

  /// What the file holds beside its tensors and is not read, a line each.
  const std::vector<std::string>& notices() const override {
    return contents_.state.notices;
  }

 private:
  TorchContents contents_;
  std::vector<TensorEntry> tensors_;
  std::unique_ptr<std::once_flag[]> verified_;  // one a storage
};

}  // namespace llamlx
