#include "formats/safetensors_reader.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/testing.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using testing::error_of;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

/// A file of this header and data, whatever they say.
std::string file_of(const std::string& header, const std::string& data) {
  const std::uint64_t length = header.size();
  std::string bytes(sizeof length, '\0');
  std::memcpy(bytes.data(), &length, sizeof length);
  return bytes + header + data;
}

std::string entry(const std::string& name, const std::string& dtype,
                  const std::string& shape, const std::string& offsets) {
  return concat("\"", name, "\":{\"dtype\":\"", dtype, "\",\"shape\":", shape,
                ",\"data_offsets\":", offsets, "}");
}

/// Two tensors, the second at an odd address.
std::string good_header() {
  return concat("{\"__metadata__\":{\"format\":\"pt\"},",
                entry("b", "F32", "[2,1]", "[3,11]"), ",",
                entry("a", "U8", "[3]", "[0,3]"), "}");
}

std::string good_data() {
  const float values[] = {1.5f, -2.0f};
  std::string data = "\x01\x02\x03";
  data.append(reinterpret_cast<const char*>(values), sizeof values);
  return data;
}

class SafetensorsReaderTest : public ::testing::Test {
 protected:
  SafetensorsFile open(const std::string& bytes) const {
    return SafetensorsFile(folder_.write("x.safetensors", bytes));
  }

  std::string refusal(const std::string& bytes,
                      ErrorCode code = ErrorCode::corrupt_file) const {
    const auto message = error_of(code, [&] { open(bytes); });
    EXPECT_THAT(message, HasSubstr("x.safetensors"));
    return message;
  }

  /// How a file of one tensor with these fields and `size` bytes is refused.
  std::string refusal_of(const std::string& dtype, const std::string& shape,
                         const std::string& offsets, std::size_t size) const {
    return refusal(file_of(concat("{", entry("t", dtype, shape, offsets), "}"),
                           std::string(size, 'd')));
  }

  TemporaryFolder folder_;
};

TEST_F(SafetensorsReaderTest, ListsTensorsByName) {
  const auto file = open(file_of(good_header(), good_data()));
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[1].name, "b");
  EXPECT_EQ(file.tensors()[1].dtype_name, "F32");
  EXPECT_TRUE(file.tensors()[1].dtype == mx::float32);
  EXPECT_EQ(file.tensors()[1].shape, (mx::Shape{2, 1}));
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.find("b"), &file.tensors()[1]);
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST_F(SafetensorsReaderTest, ReadsValuesAtAnyAlignment) {
  const auto file = open(file_of(good_header(), good_data()));
  const auto a = file.read(file.tensors()[0]);
  const auto b = file.read(file.tensors()[1]);
  EXPECT_EQ(a.shape(), (mx::Shape{3}));
  EXPECT_EQ(a.data<std::uint8_t>()[2], 3);
  EXPECT_EQ(b.shape(), (mx::Shape{2, 1}));
  EXPECT_EQ(b.data<float>()[0], 1.5f);
  EXPECT_EQ(b.data<float>()[1], -2.0f);
}

TEST_F(SafetensorsReaderTest, AgreesWithMlxOnAFileMlxWrote) {
  const auto values = mx::arange(-60, 60, mx::float32);
  std::unordered_map<std::string, mx::array> arrays;
  for (const auto dtype :
       {mx::float16, mx::bfloat16, mx::float32, mx::uint8, mx::uint16,
        mx::uint32, mx::uint64, mx::int8, mx::int16, mx::int32, mx::int64,
        mx::bool_, mx::complex64}) {
    const auto name = concat("t", arrays.size());
    arrays.emplace(name, mx::reshape(mx::astype(values, dtype), {2, 3, 4, 5}));
  }
  arrays.emplace("scalar", mx::array(0.25f));
  arrays.emplace("empty", mx::zeros({0, 4}));
  const auto path = folder_.path() / "mlx.safetensors";
  mx::save_safetensors(path.string(), arrays, {{"format", "mlx"}});
  const SafetensorsFile file(path);
  ASSERT_EQ(file.tensors().size(), arrays.size());
  for (const auto& tensor : file.tensors()) {
    const auto read = file.read(tensor);
    EXPECT_TRUE(read.dtype() == arrays.at(tensor.name).dtype());
    EXPECT_TRUE(mx::array_equal(read, arrays.at(tensor.name)).item<bool>())
        << tensor.name;
  }
}

TEST_F(SafetensorsReaderTest, ReadsTensorsLargerThanOnePiece) {
  const auto values = mx::arange(5'000'001, mx::float32);  // 20 MB
  const auto path = folder_.path() / "large.safetensors";
  mx::save_safetensors(path.string(), {{"a", values}});
  const SafetensorsFile file(path);
  const auto read = file.read(*file.find("a"));
  EXPECT_TRUE(mx::array_equal(read, values).item<bool>());
}

TEST_F(SafetensorsReaderTest, ReadsAFileMlxWroteWithoutMetadata) {
  const auto path = folder_.path() / "mlx.safetensors";
  mx::save_safetensors(path.string(), {{"a", mx::array(0.25f)}});
  const SafetensorsFile file(path);
  EXPECT_TRUE(file.metadata().empty());
  EXPECT_EQ(file.read(*file.find("a")).item<float>(), 0.25f);
}

TEST_F(SafetensorsReaderTest, TheCopyOutlivesTheFile) {
  const auto values = [&] {
    const auto file = open(file_of(good_header(), good_data()));
    return file.read(*file.find("b"));
  }();
  EXPECT_EQ(values.data<float>()[1], -2.0f);
}

TEST_F(SafetensorsReaderTest, AFileOfNoTensorsIsWhole) {
  EXPECT_TRUE(open(file_of("{}", "")).tensors().empty());
}

TEST_F(SafetensorsReaderTest, EveryTruncationIsTold) {
  const auto whole = file_of(good_header(), good_data());
  for (std::size_t length = 0; length < whole.size(); ++length) {
    EXPECT_THAT(refusal(whole.substr(0, length)),
                ::testing::AnyOf(HasSubstr("too short"), HasSubstr("cut short"),
                                 HasSubstr("header would be")))
        << length;
  }
}

TEST_F(SafetensorsReaderTest, EveryFlippedHeaderByteIsToldOrHarmless) {
  const auto whole = file_of(good_header(), good_data());
  const auto header_end = whole.size() - good_data().size();
  int refused = 0;
  for (std::size_t at = 0; at < header_end; ++at) {
    for (const int mask : {0x01, 0x20, 0x80, 0xff}) {
      auto damaged = whole;
      damaged[at] = static_cast<char>(damaged[at] ^ mask);
      try {
        const auto file = open(damaged);
        for (const auto& tensor : file.tensors()) {
          if (tensor.dtype) file.read(tensor);
        }
      } catch (const Error&) {
        ++refused;
      }
    }
  }
  // What may pass: another name, other metadata, I32 for F32 and the like.
  EXPECT_GT(refused, static_cast<int>(header_end) * 4 * 3 / 4);
}

TEST_F(SafetensorsReaderTest, RefusesImpossibleHeaderLengths) {
  EXPECT_THAT(refusal(""), HasSubstr("too short"));
  EXPECT_THAT(refusal(std::string(8, '\xff')), HasSubstr("header would be"));
  EXPECT_THAT(refusal(std::string(8, '\0')), HasSubstr("not valid JSON"));
  auto bytes = file_of(good_header(), good_data());
  bytes[3] = 1;  // 16 MB more
  EXPECT_THAT(refusal(bytes), HasSubstr("cut short"));
}

TEST_F(SafetensorsReaderTest, RefusesHeadersThatAreNotAJsonObject) {
  EXPECT_THAT(refusal(file_of("[]", "")), HasSubstr("expected a JSON object"));
  EXPECT_THAT(refusal(file_of("{\"a\":", "")), HasSubstr("not valid JSON"));
  EXPECT_THAT(
      refusal(file_of(concat("{\"a\":", std::string(1'000'000, '[')), "")),
      HasSubstr("nested"));
  const auto a = entry("a", "U8", "[1]", "[0,1]");
  EXPECT_THAT(refusal(file_of(concat("{", a, ",", a, "}"), "x")),
              HasSubstr("names \"a\" twice"));
}

TEST_F(SafetensorsReaderTest, RefusesMetadataOtherThanStrings) {
  EXPECT_THAT(refusal(file_of("{\"__metadata__\":{\"a\":1}}", "")),
              HasSubstr("__metadata__ \"a\" is not a string"));
  EXPECT_THAT(refusal(file_of("{\"__metadata__\":3}", "")),
              HasSubstr("__metadata__ is not an object"));
}

TEST_F(SafetensorsReaderTest, RefusesEntriesWithMissingOrWrongFields) {
  const auto refused = [&](const std::string& value) {
    return refusal(file_of(concat("{\"t\":", value, "}"), "x"));
  };
  EXPECT_THAT(refused("7"), HasSubstr("tensor t is not described by an obj"));
  EXPECT_THAT(refused("{}"), HasSubstr("tensor t has no \"dtype\""));
  EXPECT_THAT(refused(R"({"dtype":1})"), HasSubstr("not a string"));
  EXPECT_THAT(refused(R"({"dtype":"U8"})"), HasSubstr("no \"shape\""));
  EXPECT_THAT(refused(R"({"dtype":"U8","shape":1})"), HasSubstr("not a list"));
  EXPECT_THAT(refused(R"({"dtype":"U8","shape":[1]})"),
              HasSubstr("no \"data_offsets\""));
  for (const std::string offsets : {"3", "[0]", "[0,1,2]", "[-1,0]", "[0,1.0]",
                                    "[0,\"1\"]", "[0,18446744073709551616]"}) {
    EXPECT_THAT(refusal_of("U8", "[1]", offsets, 1),
                HasSubstr("not two whole numbers"));
  }
}

TEST_F(SafetensorsReaderTest, RefusesUnknownTypesByName) {
  const auto bytes =
      file_of(concat("{", entry("t", "Q4", "[1]", "[0,1]"), "}"), "x");
  EXPECT_THAT(refusal(bytes, ErrorCode::unsupported),
              HasSubstr("tensor t has the unknown type Q4"));
}

TEST_F(SafetensorsReaderTest, RefusesImpossibleShapes) {
  for (const std::string shape :
       {"[-1]", "[1.5]", "[\"1\"]", "[null]", "[[1]]", "[2147483648]",
        "[18446744073709551615]", "[99999999999999999999]"}) {
    EXPECT_THAT(refusal_of("U8", shape, "[0,1]", 1),
                HasSubstr("whole number below 2^31"));
  }
  const std::string huge = "[2147483647,2147483647,2147483647]";
  EXPECT_THAT(refusal_of("U8", huge, "[0,1]", 1), HasSubstr("too large"));
  const std::string wraps_to_zero = "[65536,65536,65536,65536]";
  EXPECT_THAT(refusal_of("U8", wraps_to_zero, "[0,0]", 0),
              HasSubstr("too large"));
  EXPECT_THAT(refusal_of("F32", "[0,2147483647,2147483647,2]", "[0,0]", 0),
              HasSubstr("too large"));
  EXPECT_THAT(refusal_of("F4", "[3]", "[0,2]", 2), HasSubstr("whole bytes"));
}

TEST_F(SafetensorsReaderTest, RefusesSizesThatContradictTheShape) {
  EXPECT_THAT(refusal_of("F32", "[2]", "[0,4]", 4),
              HasSubstr("has 4 bytes of data where its type and shape need 8"));
  EXPECT_THAT(refusal_of("F32", "[]", "[0,8]", 8), HasSubstr("need 4"));
  EXPECT_THAT(refusal_of("F32", "[0]", "[0,4]", 4), HasSubstr("need 0"));
}

TEST_F(SafetensorsReaderTest, RefusesOffsetsOutsideTheFile) {
  EXPECT_THAT(refusal_of("U8", "[4]", "[0,4]", 3), HasSubstr("cut short"));
  EXPECT_THAT(refusal_of("U8", "[1]", "[3,2]", 4), HasSubstr("before it beg"));
  EXPECT_THAT(
      refusal_of("U8", "[1]", "[18446744073709551615,18446744073709551615]", 4),
      HasSubstr("cut short"));
}

TEST_F(SafetensorsReaderTest, RefusesOverlapsGapsAndRests) {
  const auto refused = [&](const std::string& second, std::size_t size) {
    const auto first = entry("a", "U8", "[4]", "[0,4]");
    return refusal(
        file_of(concat("{", first, ",", second, "}"), std::string(size, 'd')));
  };
  EXPECT_THAT(refused(entry("b", "U8", "[4]", "[2,6]"), 6),
              HasSubstr("tensor b overlaps"));
  EXPECT_THAT(refused(entry("b", "U8", "[4]", "[0,4]"), 4),
              HasSubstr("overlaps"));
  EXPECT_THAT(refused(entry("b", "U8", "[0]", "[2,2]"), 4),
              HasSubstr("overlaps"));
  EXPECT_THAT(refused(entry("b", "U8", "[1]", "[5,6]"), 6),
              HasSubstr("tensor b begins after bytes of no tensor"));
  EXPECT_THAT(refused(entry("b", "U8", "[1]", "[4,5]"), 7),
              HasSubstr("goes on for 2 bytes"));
}

TEST_F(SafetensorsReaderTest, TypesMlxHasNotAreListedButNotRead) {
  for (const std::string dtype : {"F64", "I64"}) {
    const auto file =
        open(file_of(concat("{", entry("t", dtype, "[1]", "[0,8]"), "}"),
                     std::string(8, 'd')));
    EXPECT_EQ(file.tensors()[0].dtype_name, dtype);
  }
  const auto file = open(
      file_of(concat("{", entry("t", "F8_E4M3", "[2]", "[0,2]"), "}"), "xy"));
  EXPECT_FALSE(file.tensors()[0].dtype);
  EXPECT_THAT(
      error_of(ErrorCode::unsupported, [&] { file.read(file.tensors()[0]); }),
      HasSubstr("tensor t has the type F8_E4M3"));
}

TEST_F(SafetensorsReaderTest, NamesAGitLfsPointerForWhatItIs) {
  EXPECT_THAT(refusal("version https://git-lfs.github.com/spec/v1\n"
                      "oid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1258"
                      "daaa5e2ca24d17e2393\nsize 12345\n"),
              HasSubstr("git lfs pull"));
}

TEST_F(SafetensorsReaderTest, AMissingFileIsNotFound) {
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { SafetensorsFile(folder_.path() / "absent"); }),
              HasSubstr("absent"));
}

}  // namespace
}  // namespace llamlx
