#include "formats/gguf_reader.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/gguf_testing.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using testing::gguf_string;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using testing::raw;
using testing::TemporaryFolder;

using Strings = std::vector<std::string_view>;

std::string floats(std::size_t count) { return std::string(4 * count, '\1'); }

/// A file with a bit of everything.
GgufBuilder small_file() {
  GgufBuilder file;
  file.set("general.architecture", "llama")
      .set("general.alignment", std::uint32_t{32})
      .set("names", std::vector<std::string>{"a", "", "bc"})
      .set("numbers", std::vector<std::int32_t>{1, -2})
      .set("yes", true)
      .add("first", {3, 2}, GgmlType::f32, floats(6))
      .add("second", {32}, GgmlType::q4_0, std::string(18, '\2'));
  return file;
}

class GgufReaderTest : public ::testing::Test {
 protected:
  GgufFile open(const std::string& bytes) {
    return GgufFile(folder_.write("model.gguf", bytes));
  }
  GgufFile open(const GgufBuilder& file) { return open(file.bytes()); }

  std::string error(const std::string& bytes,
                    ErrorCode code = ErrorCode::corrupt_file) {
    return error_of(code, [&] { open(bytes); });
  }
  std::string error(const GgufBuilder& file,
                    ErrorCode code = ErrorCode::corrupt_file) {
    return error(file.bytes(), code);
  }

  /// Whatever is in the file, it is read or refused by an Error.
  bool opens() {
    try {
      const GgufFile file(folder_.path() / "model.gguf");
      for (const auto& value : file.metadata()) {
        try {
          file.get<Strings>(value.key);
        } catch (const Error&) {
        }
      }
      return true;
    } catch (const Error&) {
      return false;
    }
  }

  TemporaryFolder folder_;
};

TEST_F(GgufReaderTest, ReadsEveryTypeOfNumber) {
  GgufBuilder builder;
  builder.set("u8", std::uint8_t{255})
      .set("i8", std::int8_t{-128})
      .set("u16", std::uint16_t{65535})
      .set("i16", std::int16_t{-32768})
      .set("u32", std::uint32_t{4294967295})
      .set("i32", std::int32_t{-2147483647})
      .set("u64", std::uint64_t{1} << 62)
      .set("i64", std::numeric_limits<std::int64_t>::min())
      .set("f32", 1e-5f)
      .set("f64", 0.1);
  const auto file = open(builder);
  EXPECT_EQ(file.get<std::int64_t>("u8"), 255);
  EXPECT_EQ(file.get<std::int64_t>("i8"), -128);
  EXPECT_EQ(file.get<std::int64_t>("u16"), 65535);
  EXPECT_EQ(file.get<std::int64_t>("i16"), -32768);
  EXPECT_EQ(file.get<std::int64_t>("u32"), 4294967295);
  EXPECT_EQ(file.get<std::int64_t>("i32"), -2147483647);
  EXPECT_EQ(file.get<std::int64_t>("u64"), std::int64_t{1} << 62);
  EXPECT_EQ(file.get<std::int64_t>("i64"),
            std::numeric_limits<std::int64_t>::min());
  EXPECT_EQ(file.get<double>("f32"), 1e-5f);
  EXPECT_EQ(file.get<double>("f64"), 0.1);
  EXPECT_EQ(file.get<double>("i8"), -128);
}

TEST_F(GgufReaderTest, ReadsStringsBooleansAndArrays) {
  const auto file = open(small_file());
  EXPECT_EQ(file.version(), 3u);
  EXPECT_EQ(file.get<std::string_view>("general.architecture"), "llama");
  EXPECT_EQ(file.get<bool>("yes"), true);
  EXPECT_THAT(*file.get<Strings>("names"), ElementsAre("a", "", "bc"));
  EXPECT_THAT(*file.get<std::vector<std::int64_t>>("numbers"),
              ElementsAre(1, -2));
  EXPECT_THAT(*file.get<std::vector<double>>("numbers"), ElementsAre(1, -2));
  EXPECT_FALSE(file.get<bool>("absent").has_value());
}

TEST_F(GgufReaderTest, NamesFileAndKeyOfAValueOfAnotherKind) {
  auto builder = small_file();
  builder.set("huge", std::numeric_limits<std::uint64_t>::max())
      .set_raw("half", 7, "\2");
  const auto file = open(builder);
  const auto get = [&]<typename T>(const char* key, T) {
    return error_of(ErrorCode::corrupt_file, [&] { file.get<T>(key); });
  };
  EXPECT_THAT(get("yes", std::int64_t{}),
              HasSubstr("model.gguf: the metadata value yes should be a whole "
                        "number, got bool"));
  EXPECT_THAT(get("general.architecture", 0.0), HasSubstr("got string"));
  EXPECT_THAT(get("names", std::vector<double>{}),
              HasSubstr("should be an array of numbers, got an array of 3 "
                        "string"));
  EXPECT_THAT(get("yes", Strings{}), HasSubstr("an array of strings"));
  EXPECT_THAT(get("names", std::string_view{}), HasSubstr("a string"));
  EXPECT_THAT(get("huge", std::int64_t{}), HasSubstr("a whole number"));
  EXPECT_THAT(get("half", false), HasSubstr("true or false"));
  EXPECT_THAT(
      error_of(ErrorCode::corrupt_file, [&] { file.require<bool>("absent"); }),
      HasSubstr("the metadata value absent is missing"));
}

TEST_F(GgufReaderTest, GivesShapesWithRowsFirstAndTheBytesOfEachTensor) {
  const auto file = open(small_file());
  ASSERT_EQ(file.tensors().size(), 2u);
  const auto* first = file.find("first");
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->shape, (mx::Shape{2, 3}));
  EXPECT_EQ(first->type->name, "F32");
  EXPECT_EQ(first->bytes.size(), 24u);
  EXPECT_EQ(first->bytes[0], std::byte{1});
  const auto* second = file.find("second");
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(second->bytes.size(), 18u);
  EXPECT_EQ(second->bytes[17], std::byte{2});
  EXPECT_EQ(file.find("third"), nullptr);
}

TEST_F(GgufReaderTest, ReadsVersionTwoAndOtherAlignments) {
  GgufBuilder builder;
  builder.version = 2;
  builder.alignment = 64;
  builder.set("general.alignment", std::uint32_t{64})
      .add("a", {1}, GgmlType::f32, floats(1))
      .add("b", {1}, GgmlType::f32, "\3\3\3\3");
  const auto file = open(builder);
  EXPECT_EQ(file.version(), 2u);
  EXPECT_EQ(file.find("b")->bytes[0], std::byte{3});
}

TEST_F(GgufReaderTest, RefusesOtherFilesAndVersionsByName) {
  EXPECT_THAT(error(""), HasSubstr("cut short"));
  EXPECT_THAT(error("PK\3\4 and so on"), HasSubstr("is not a GGUF file"));
  EXPECT_THAT(error("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("Git LFS pointer"));
  const auto version = [&](std::uint32_t number) {
    auto file = small_file();
    file.version = number;
    return error(file, ErrorCode::unsupported);
  };
  EXPECT_THAT(version(1), HasSubstr("is GGUF version 1"));
  EXPECT_THAT(version(4), HasSubstr("is GGUF version 4"));
  EXPECT_THAT(version(0x03000000), HasSubstr("big-endian"));
}

TEST_F(GgufReaderTest, RefusesEveryPrefixOfAFile) {
  const auto whole = small_file().bytes();
  const auto path = folder_.write("model.gguf", whole);
  ASSERT_TRUE(opens());
  for (std::size_t size = whole.size(); size-- > 0;) {
    std::filesystem::resize_file(path, size);
    EXPECT_FALSE(opens()) << size;
  }
}

TEST_F(GgufReaderTest, SurvivesEveryCorruptedByteOfTheHeader) {
  const auto whole = small_file().bytes();
  std::fstream file(folder_.write("model.gguf", whole),
                    std::ios::binary | std::ios::in | std::ios::out);
  const auto put = [&](std::size_t at, int value) {
    file.seekp(static_cast<std::streamoff>(at));
    file.put(static_cast<char>(value)).flush();
  };
  for (std::size_t at = 0; at < small_file().header().size(); ++at) {
    for (const int flip : {0x01, 0x08, 0x40, 0x80, 0xff}) {
      put(at, whole[at] ^ flip);
      opens();
    }
    put(at, whole[at]);
  }
  EXPECT_TRUE(opens());
}

TEST_F(GgufReaderTest, RefusesAbsurdCountsWithoutAllocatingForThem) {
  constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
  for (const std::uint64_t count : {kMost, kMost / 8, std::uint64_t{1} << 40}) {
    EXPECT_THAT(error("GGUF" + raw(3) + raw(count) + raw<std::uint64_t>(0)),
                HasSubstr("the list of tensors announces"));
    EXPECT_THAT(error("GGUF" + raw(3) + raw<std::uint64_t>(0) + raw(count)),
                HasSubstr("the metadata announces"));
    for (const std::uint32_t type : {0, 5, 8, 9, 10}) {
      GgufBuilder file;
      file.set_raw("list", 9, raw(type) + raw(count));
      EXPECT_THAT(error(file), HasSubstr("the metadata value list announces"));
    }
    GgufBuilder file;
    file.set_raw("text", 8, raw(count));
    EXPECT_THAT(error(file), HasSubstr("the metadata value text needs"));
  }
}

TEST_F(GgufReaderTest, RefusesUnknownValueTypesAndDeepNesting) {
  GgufBuilder unknown;
  unknown.set_raw("odd", 13, raw(0));
  EXPECT_THAT(error(unknown), HasSubstr("odd has the unknown type 13"));

  const auto nested = [](int levels) {
    std::string value;
    for (int i = 0; i < levels; ++i) value += raw(9) + raw<std::uint64_t>(1);
    GgufBuilder file;
    file.set_raw("deep", 9, value + raw(0) + raw<std::uint64_t>(1) + "x");
    return file;
  };
  const auto file = open(nested(1));
  EXPECT_THAT(
      error_of(ErrorCode::corrupt_file, [&] { file.get<Strings>("deep"); }),
      HasSubstr("got an array of 1 array"));
  EXPECT_THAT(error(nested(5)), HasSubstr("nested too deep"));
  EXPECT_THAT(error(nested(100'000)), HasSubstr("nested too deep"));
}

TEST_F(GgufReaderTest, RefusesDuplicates) {
  auto keys = small_file();
  keys.append_raw("yes", 7, std::string(1, '\0'));
  EXPECT_THAT(error(keys), HasSubstr("has the metadata key yes twice"));
  auto tensors = small_file();
  tensors.add("first", {1}, GgmlType::f32, floats(1));
  EXPECT_THAT(error(tensors), HasSubstr("has tensor first twice"));
}

TEST_F(GgufReaderTest, RefusesTensorsThatMakeNoSense) {
  const auto with = [&](const std::vector<std::uint64_t>& dimensions,
                        GgmlType type = GgmlType::f32) {
    return error(small_file().add("odd", dimensions, type, floats(1)));
  };
  EXPECT_THAT(with({}), HasSubstr("tensor odd has 0 dimensions"));
  EXPECT_THAT(with({1, 1, 1, 1, 1}), HasSubstr("has 5 dimensions"));
  EXPECT_THAT(with({0}), HasSubstr("has a dimension of 0"));
  EXPECT_THAT(with({std::uint64_t{1} << 31}), HasSubstr("has a dimension of"));
  const std::uint64_t large = 1 << 30;
  EXPECT_THAT(with({large, large, large}), HasSubstr("impossibly large"));
  EXPECT_THAT(with({large, large}), HasSubstr("is cut short: tensor odd"));
  EXPECT_THAT(with({33}, GgmlType::q4_0),
              HasSubstr("rows of 33 values, but Q4_0 stores blocks of 32"));
}

TEST_F(GgufReaderTest, RefusesMisplacedTensors) {
  const auto moved = [&](std::uint64_t offset) {
    return error(small_file().move_last(offset));
  };
  EXPECT_THAT(moved(33), HasSubstr("offset 33, not a multiple of 32"));
  EXPECT_THAT(moved(0), HasSubstr("overlap"));
  EXPECT_THAT(moved(64), HasSubstr("is cut short: tensor second"));
  EXPECT_THAT(moved(std::numeric_limits<std::uint64_t>::max() - 31),
              HasSubstr("is cut short: tensor second"));
}

TEST_F(GgufReaderTest, RefusesAlignmentsThatAreNoPowerOfTwo) {
  for (const std::int64_t alignment : {0, -32, 3, 48}) {
    EXPECT_THAT(error(small_file().set("general.alignment", alignment)),
                HasSubstr("not a power of two"));
  }
  EXPECT_THAT(
      error(small_file().set("general.alignment", std::int64_t{1} << 62)),
      HasSubstr("the padding before the data"));
}

TEST_F(GgufReaderTest, NamesTypesItCannotMeasure) {
  auto withdrawn = small_file();
  withdrawn.add("old", {32}, static_cast<GgmlType>(31), floats(1));
  EXPECT_THAT(error(withdrawn, ErrorCode::unsupported),
              HasSubstr("tensor old is stored as Q4_0_4_4, which is not "
                        "supported; use a GGUF in Q2_K to Q6_K"));
  auto unheard_of = small_file();
  unheard_of.add("new", {32}, static_cast<GgmlType>(99), floats(1));
  EXPECT_THAT(error(unheard_of, ErrorCode::unsupported),
              HasSubstr("tensor new is stored as type 99"));
}

TEST_F(GgufReaderTest, ReadsLargeVocabulariesQuickly) {
  std::vector<std::string> tokens;
  for (int i = 0; i < 300'000; ++i) tokens.push_back(concat("token", i));
  const auto path =
      folder_.write("large.gguf", GgufBuilder().set("tokens", tokens).bytes());
  const auto start = std::chrono::steady_clock::now();
  const GgufFile file(path);
  const auto read = *file.get<Strings>("tokens");
  const auto seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start);
  EXPECT_EQ(read.size(), tokens.size());
  EXPECT_EQ(read.back(), tokens.back());
  EXPECT_LT(seconds.count(), 1.0);
}

}  // namespace
}  // namespace llamlx
