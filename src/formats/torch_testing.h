#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "formats/pickle_testing.h"
#include "formats/zip_testing.h"

// Writes torch files of both formats by hand, right or wrong. Only *_test.cpp
// files include this.
namespace llamlx::testing {

/// A storage's id, as persistent values have it; `part` is what follows the
/// number of values.
inline std::string torch_storage(std::string_view key, std::int64_t count,
                                 std::string_view type = "FloatStorage",
                                 std::string_view part = "") {
  return concat(
      pickle_tuple({pickle_text("storage"), pickle_global("torch", type),
                    pickle_text(key), pickle_text("cpu"), pickle_number(count),
                    std::string(part)}),
      "Q");
}

/// An empty OrderedDict, as torch writes a tensor's hooks.
inline std::string no_hooks() {
  return pickle_call("collections", "OrderedDict", {});
}

/// The call that makes a tensor, with all its arguments.
inline std::string torch_tensor(const std::string& storage, std::int64_t offset,
                                const std::vector<std::int64_t>& sizes,
                                const std::vector<std::int64_t>& strides) {
  return pickle_call("torch._utils", "_rebuild_tensor_v2",
                     {storage, pickle_number(offset), pickle_numbers(sizes),
                      pickle_numbers(strides), "\x89", no_hooks()});
}

/// A storage's key, the number of its values, and their bytes.
struct TorchBytes {
  std::string key;
  std::int64_t count;
  std::string bytes;
};

inline std::string torch_stream_header(
    std::string_view magic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19",
    std::int64_t version = 1001, bool is_little_endian = true) {
  return concat(pickle_of(concat("\x8a", raw<char>(10), magic)),
                pickle_of(pickle_number(version)),
                pickle_of(pickle_dict({pickle_text("little_endian"),
                                       is_little_endian ? "\x88" : "\x89"})));
}

/// The stream of an object (the code that makes it) and its storages.
inline std::string torch_stream(std::string_view object,
                                const std::vector<TorchBytes>& storages) {
  std::vector<std::string> keys;
  std::string values;
  for (const auto& storage : storages) {
    keys.push_back(pickle_text(storage.key));
    values += raw(storage.count) + storage.bytes;
  }
  return concat(torch_stream_header(), pickle_of(object),
                pickle_of(pickle_list(keys)), values);
}

/// The zip archive of the same; their values begin wherever they happen to.
inline std::string torch_zip(std::string_view object,
                             const std::vector<TorchBytes>& storages,
                             std::vector<ZipPart> more = {}) {
  std::vector<ZipPart> parts = {
      {.name = "x/data.pkl", .bytes = pickle_of(object)}};
  for (const auto& storage : storages) {
    parts.push_back({.name = "x/data/" + storage.key, .bytes = storage.bytes});
  }
  parts.insert(parts.end(), more.begin(), more.end());
  return zip_of(parts);
}

}  // namespace llamlx::testing
