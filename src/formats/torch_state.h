#pragma once

#include <string>
#include <vector>

#include "formats/pickle.h"
#include "formats/torch_tensor.h"

namespace llamlx {

/// The tensors a pickle of torch names.
struct TorchState {
  std::vector<TorchStorage> storages;
  std::vector<TorchTensor> tensors;  ///< sorted by name
  std::vector<std::string> notices;  ///< a line each, of what was left out
};

/// Finds the state dict in a pickle of torch and reads its tensors: the pickle
/// is a dict of names and tensors, or a dict that has one such dict, under
/// "state_dict", "model" or "module". Values that hold no tensors are left out
/// with a notice.
///
/// Limits   200000 tensors; they may repeat the values of their storages (a
/// stride of 0) up
///          to 256 MiB in all, so that a small file fills no memory.
/// Errors   Error (corrupt_file, unsupported) naming `subject`: for a tensor's
///          faults, a name that occurs twice or is no text, dicts of tensors
///          within others.
TorchState read_torch_state(const Pickle& pickle, const std::string& subject);

}  // namespace llamlx
