#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/json.h"
#include "base/testing.h"
#include "formats/torch_reader.h"

// Files that torch itself saved, and what torch has for their tensors.
namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

const std::filesystem::path& folder() {
  static const std::filesystem::path path =
      std::filesystem::path(LLAMLX_TEST_DATA) / "torch";
  return path;
}

const Json& cases() {
  static const auto json = read_json_file(folder() / "cases.json");
  return json;
}

std::string hexadecimal(const mx::array& array) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  const auto* bytes = array.data<std::uint8_t>();
  std::string text;
  for (std::size_t i = 0; i < array.nbytes(); ++i) {
    text += kDigits[bytes[i] >> 4];
    text += kDigits[bytes[i] & 15];
  }
  return text;
}

void expect_tensor(const TorchFile& file, const TensorEntry& entry,
                   const Json& expected) {
  SCOPED_TRACE(entry.name);
  EXPECT_EQ(entry.dtype_name, expected["dtype"]);
  EXPECT_EQ(Json(entry.shape), expected["shape"]);
  if (entry.dtype) {
    const auto array = file.read(entry);
    EXPECT_EQ(Json(array.shape()), expected["shape"]);
    EXPECT_EQ(array.dtype(), *entry.dtype);
    EXPECT_EQ(hexadecimal(array), expected["bytes"]);
  } else {
    EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { file.read(entry); }),
                HasSubstr(entry.dtype_name));
  }
}

TEST(TorchFilesTest, HaveTheTensorsTorchSaved) {
  for (const auto& [name, state] : cases()["files"].items()) {
    SCOPED_TRACE(name);
    const TorchFile file(folder() / name);
    const auto& expected = cases()["states"][std::string(state)];
    ASSERT_EQ(file.tensors().size(), expected.size());
    for (const auto& entry : file.tensors()) {
      ASSERT_TRUE(expected.contains(entry.name)) << entry.name;
      expect_tensor(file, entry, expected[entry.name]);
    }
  }
}

TEST(TorchFilesTest, AreRefusedByWhatIsInThem) {
  for (const auto& [name, word] : cases()["refused"].items()) {
    SCOPED_TRACE(name);
    const auto path = folder() / name;
    EXPECT_THAT(error_of(ErrorCode::unsupported, [&] { TorchFile{path}; }),
                HasSubstr(std::string(word)));
  }
}

TEST(TorchFilesTest, SayWhatLiesBesideTheTensors) {
  const TorchFile plain(folder() / "module.zip.p2.pth");
  EXPECT_TRUE(plain.notices().empty());
  for (const auto* name : {"training.zip.p2.pth", "training.stream.p2.pth"}) {
    const TorchFile file(folder() / name);
    ASSERT_EQ(file.notices().size(), 1U);
    EXPECT_EQ(file.notices()[0],
              "left out 2 that hold no tensors: epoch, optimizer");
  }
  const TorchFile crowded(folder() / "beside.zip.p4.pth");
  ASSERT_EQ(crowded.notices().size(), 1U);
  EXPECT_EQ(crowded.notices()[0],
            "left out 22 that hold no tensors: none, yes, step, negative, "
            "long, ...");
}

TEST(TorchFilesTest, AreRefusedWhereverTheyAreCut) {
  const testing::TemporaryFolder cut;
  for (const auto* name : {"small.zip.p2.pth", "small.stream.p2.pth"}) {
    SCOPED_TRACE(name);
    const auto path = cut.write(name, testing::read_bytes(folder() / name));
    // Cutting one file shorter is far faster than writing shorter ones.
    for (auto size = std::filesystem::file_size(path); size-- > 0;) {
      SCOPED_TRACE(size);
      std::filesystem::resize_file(path, size);
      error_of(ErrorCode::corrupt_file, [&] { TorchFile{path}; });
    }
  }
}

TEST(TorchFilesTest, AreReadOrRefusedWhicheverByteIsAnother) {
  const testing::TemporaryFolder folder_of_changes;
  for (const auto* name : {"small.zip.p2.pth", "small.stream.p2.pth"}) {
    const auto whole = testing::read_bytes(folder() / name);
    const auto path = folder_of_changes.write(name, whole);
    for (std::size_t at = 0; at < whole.size(); ++at) {
      for (const int change : {1, 4, 0x80, 0xff}) {
        SCOPED_TRACE(concat(name, " at ", at, " by ", change));
        std::fstream file(path,
                          std::ios::binary | std::ios::in | std::ios::out);
        file.seekp(static_cast<std::streamoff>(at));
        file.put(static_cast<char>(whole[at] ^ change)).flush();
        try {
          const TorchFile changed(path);
          for (const auto& entry : changed.tensors()) changed.read(entry);
        } catch (const Error& error) {
          EXPECT_THAT(error.what(), HasSubstr("; "));
        }
        file.seekp(static_cast<std::streamoff>(at));
        file.put(whole[at]).flush();
      }
    }
  }
}

}  // namespace
}  // namespace llamlx
