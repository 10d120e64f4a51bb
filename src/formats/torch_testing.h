#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "formats/pickle_testing.h"
#include "formats/torch_reader.h"
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

/// The float32 values 0, 1, 2, ...
inline std::string floats(int count) {
  std::string bytes;
  for (int i = 0; i < count; ++i) bytes += raw(static_cast<float>(i));
  return bytes;
}

inline TorchBytes float_storage(std::string_view key, int count) {
  return {std::string(key), count, floats(count)};
}

/// The code of a dict of one tensor, "w".
inline std::string dict_of(const std::string& tensor) {
  return pickle_dict({pickle_text("w"), tensor});
}

/// A tensor of the first values of storage "0", which has six.
inline std::string tensor_of(const std::vector<std::int64_t>& sizes,
                             const std::vector<std::int64_t>& strides,
                             std::int64_t offset = 0) {
  return torch_tensor(torch_storage("0", 6), offset, sizes, strides);
}

/// Tests that open files made by hand.
class TorchFileTest : public ::testing::Test {
 protected:
  TorchFile open(std::string_view bytes) const {
    return TorchFile(folder_.write("x.pth", bytes));
  }

  std::string refusal(ErrorCode code, std::string_view bytes) const {
    const auto path = folder_.write("x.pth", bytes);
    return error_of(code, [&] { TorchFile{path}; });
  }

  /// What both formats say of an object with storage "0" of six floats.
  std::string refusal_of(ErrorCode code, std::string_view object) const {
    const auto stream =
        refusal(code, torch_stream(object, {float_storage("0", 6)}));
    const auto zip = refusal(code, torch_zip(object, {float_storage("0", 6)}));
    EXPECT_THAT(zip, ::testing::HasSubstr(" (data.pkl): "));
    const auto cause = stream.substr(stream.find(": "));
    EXPECT_EQ(cause.substr(0, cause.find(" (at")),
              zip.substr(zip.find(": ")).substr(0, cause.find(" (at")));
    return zip;
  }

  std::string corrupt(std::string_view object) const {
    return refusal_of(ErrorCode::corrupt_file, object);
  }

  std::string unsupported(std::string_view object) const {
    return refusal_of(ErrorCode::unsupported, object);
  }

  TemporaryFolder folder_;
};

/// The values of a float32 tensor.
inline std::vector<float> values(const TorchFile& file,
                                 std::string_view name = "w") {
  const auto array = file.read(*file.find(name));
  return {array.data<float>(), array.data<float>() + array.size()};
}

}  // namespace llamlx::testing
