#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "formats/pickle.h"
#include "formats/tensor_file.h"
#include "formats/torch_dtype.h"

namespace llamlx {

/// A run of values that tensors stand on, as the pickle speaks of it. Its bytes
/// lie elsewhere in the file.
struct TorchStorage {
  std::string key;
  const TorchDtype* dtype;  ///< of the first mention
  std::uint64_t count;      ///< values, at the first mention
  std::uint64_t needed;     ///< bytes that its mentions speak of, at most
};

/// A tensor and its place in a storage. Every value lies within the bytes that
/// the storage needs.
struct TorchTensor {
  TensorEntry entry;
  std::size_t storage;     ///< its index
  std::uint64_t offset;    ///< bytes before the first value
  std::uint64_t size;      ///< bytes from there to the end of the last value
  std::size_t value_size;  ///< bytes
  mx::Strides strides;     ///< in values, one a dimension; none is negative
};

/// The storages of a pickle, by their keys.
///
/// Layout   the id of a persistent value is ("storage", class, key, location,
///          number of values); the older stream adds None, or for a storage
///          that is part of another (key of the part, first value, number of
///          values).
/// Errors   Error (corrupt_file, unsupported) naming `subject`.
class TorchStorages {
 public:
  TorchStorages(const Pickle& pickle, const std::string& subject);

  /// Values of one storage, as one mention of it has them.
  struct Mention {
    std::size_t storage;
    const TorchDtype* dtype;
    std::uint64_t offset;  // bytes
    std::uint64_t size;    // bytes
  };

  const Mention& mention(const PickleValue& persistent) const {
    return mentions_.at(&persistent);
  }

  std::vector<TorchStorage> take() && { return std::move(storages_); }

 private:
  Mention read(const PickleValue& persistent);
  std::size_t index_of(std::string_view key, const TorchDtype& dtype,
                       std::uint64_t count, std::uint64_t size);

  const std::string& subject_;
  std::vector<TorchStorage> storages_;
  std::map<std::string_view, std::size_t> indices_;
  std::unordered_map<const PickleValue*, Mention> mentions_;
};

/// True when `value` is written as a tensor is.
bool is_torch_tensor(const PickleValue& value);

/// Reads the tensor `name`: a call of torch._utils._rebuild_tensor (storage,
/// offset, size, stride), of _rebuild_tensor_v2 (and requires_grad, hooks and
/// perhaps metadata), of _rebuild_tensor_v3 (and the type before the metadata),
/// or of what wraps one of these into a Parameter or gives it attributes.
///
/// Checks   dimensions fit an int32 and their product an int64; every value
///          lies in the storage.
/// Errors   Error (corrupt_file, unsupported) naming `subject` and the tensor.
TorchTensor read_torch_tensor(const PickleValue& value, std::string_view name,
                              const TorchStorages& storages,
                              const std::string& subject);

}  // namespace llamlx
