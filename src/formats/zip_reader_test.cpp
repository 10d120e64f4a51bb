#include "formats/zip_reader.h"

#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/zip_layout.h"
#include "formats/zip_testing.h"

namespace llamlx {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::kCompressed;
using testing::kCrc;
using testing::kLocalCompressed;
using testing::kLocalCrc;
using testing::kLocalMethod;
using testing::kLocalName;
using testing::kLocalSize;
using testing::kMethod;
using testing::kSize;
using testing::patched;
using testing::small_parts;
using testing::TemporaryFolder;
using testing::zip_of;
using testing::ZipPart;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

class ZipReaderTest : public ::testing::Test {
 protected:
  ZipFile open(const std::string& bytes) const {
    return ZipFile(folder_.write("x.zip", bytes));
  }

  /// How reading the only entry of an archive is refused.
  std::string read_refusal(const std::string& bytes,
                           std::uint64_t most_bytes = 1 << 20) const {
    const auto file = open(bytes);
    const auto& entry = file.entries().at(0);
    const auto message = error_of(ErrorCode::corrupt_file,
                                  [&] { file.read(entry, most_bytes); });
    EXPECT_THAT(message, AllOf(HasSubstr("x.zip: "),
                               HasSubstr(concat("entry ", entry.name))));
    return message;
  }

  void expect_small_parts(const std::string& bytes) const {
    const auto file = open(bytes);
    ASSERT_EQ(file.entries().size(), 2u);
    for (const auto& part : small_parts()) {
      const auto* entry = file.find(part.name);
      ASSERT_NE(entry, nullptr) << part.name;
      EXPECT_EQ(entry->is_stored, !part.is_deflated);
      EXPECT_EQ(text_of(file.read(*entry, part.bytes.size())), part.bytes);
    }
  }

  TemporaryFolder folder_;
};

TEST_F(ZipReaderTest, ListsEntriesByName) {
  const auto file = open(zip_of(small_parts()));
  ASSERT_EQ(file.entries().size(), 2u);
  EXPECT_EQ(file.entries()[0].name, "deflated");
  EXPECT_EQ(file.entries()[0].size, 501u);
  EXPECT_LT(file.entries()[0].compressed_size, 50u);
  EXPECT_EQ(file.entries()[1].name, "stored");
  EXPECT_EQ(file.entries()[1].crc, testing::crc_of("the bytes themselves"));
  EXPECT_EQ(file.find("stored"), &file.entries()[1]);
  EXPECT_EQ(file.find("store"), nullptr);
}

TEST_F(ZipReaderTest, ReadsStoredAndDeflatedEntries) {
  expect_small_parts(zip_of(small_parts()));
}

TEST_F(ZipReaderTest, StoredBytesLieInTheMapping) {
  const auto file = open(zip_of(small_parts()));
  const auto bytes = file.stored_bytes(*file.find("stored"));
  EXPECT_EQ(text_of(bytes), "the bytes themselves");
  EXPECT_EQ(bytes.data(), file.file()->bytes().data() + kLocalName + 6);
  file.check_crc(*file.find("stored"));
  const auto& deflated = *file.find("deflated");
  EXPECT_THROW(file.stored_bytes(deflated), std::invalid_argument);
  EXPECT_THROW(file.check_crc(deflated), std::invalid_argument);
}

TEST_F(ZipReaderTest, ReadsEveryWayToWriteTheSizes) {
  for (const bool has_descriptor : {false, true}) {
    for (const bool is_zip64 : {false, true}) {
      for (const bool is_zip64_archive : {false, true}) {
        auto parts = small_parts();
        for (auto& part : parts) {
          part.has_descriptor = has_descriptor;
          part.is_zip64 = is_zip64;
        }
        expect_small_parts(zip_of(parts, is_zip64_archive));
      }
    }
  }
}

TEST_F(ZipReaderTest, ReadsEmptyEntriesAndArchives) {
  EXPECT_TRUE(open(zip_of({})).entries().empty());
  EXPECT_TRUE(open(zip_of({}, true)).entries().empty());
  const auto file = open(zip_of({{"a", ""}, {"b", "", true}}));
  for (const auto& entry : file.entries()) {
    EXPECT_TRUE(file.read(entry, 0).empty());
  }
  file.check_crc(file.entries()[0]);
}

TEST_F(ZipReaderTest, ReadsAnArchiveWithAComment) {
  auto archive = zip_of(small_parts());
  archive = patched(archive, archive.size() - 2, 5, 2) + "hello";
  expect_small_parts(archive);
}

TEST_F(ZipReaderTest, ReadsMoreEntriesThanSixteenBitsCount) {
  constexpr int kEntries = 65537;
  std::vector<ZipPart> parts;
  for (int i = 0; i < kEntries; ++i) parts.push_back({concat(i), concat(i)});
  const auto file = open(zip_of(parts, true));
  ASSERT_EQ(file.entries().size(), std::size_t{kEntries});
  EXPECT_EQ(text_of(file.read(*file.find("65536"), 5)), "65536");
  parts.resize(65535);
  EXPECT_EQ(open(zip_of(parts)).entries().size(), 65535u);
}

TEST_F(ZipReaderTest, ReadsEntriesOfSeveralPieces) {
  std::string large((std::size_t{17} << 20) + 3, '\0');
  for (std::size_t i = 0; i < large.size(); i += 1000) {
    large[i] = static_cast<char>(i / 1000);
  }
  const auto file = open(zip_of({{"a", large}, {"b", large, true}}));
  EXPECT_EQ(text_of(file.read(file.entries()[0], large.size())), large);
  EXPECT_EQ(text_of(file.read(file.entries()[1], large.size())), large);
  file.check_crc(file.entries()[0]);
}

TEST_F(ZipReaderTest, SurvivesADamagedByteAnywhere) {
  auto parts = small_parts();
  parts[0].is_zip64 = parts[1].has_descriptor = true;
  const auto archive = zip_of(parts, true);
  for (std::size_t at = 0; at < archive.size(); ++at) {
    for (const unsigned value : {0x00U, 0xffU}) {
      const auto path = folder_.write("x.zip", patched(archive, at, value, 1));
      try {
        const ZipFile file(path);
        for (const auto& entry : file.entries()) file.read(entry, 1000);
      } catch (const Error& error) {
        EXPECT_THAT(error.what(), HasSubstr("x.zip: "));
      }
    }
  }
}

TEST_F(ZipReaderTest, RefusesMoreBytesThanTheCallerTakes) {
  for (const bool is_deflated : {false, true}) {
    const auto archive = zip_of({{"a", std::string(11, 'x'), is_deflated}});
    EXPECT_THAT(read_refusal(archive, 10),
                HasSubstr("has 11 bytes where at most 10"));
  }
}

TEST_F(ZipReaderTest, RefusesInflatedDataOfAnotherSize) {
  const auto archive = zip_of({{"a", std::string(300, 'x'), true}});
  const auto entry = archive.find("PK\1\2");
  const auto sized = [&](std::uint64_t size) {
    return read_refusal(
        patched(patched(archive, kLocalSize, size, 4), entry + kSize, size, 4));
  };
  EXPECT_THAT(sized(299), HasSubstr("more bytes than it says"));
  EXPECT_THAT(sized(0), HasSubstr("more bytes than it says"));
  EXPECT_THAT(sized(301), HasSubstr("fewer bytes than it says"));
}

TEST_F(ZipReaderTest, RefusesDamagedDeflatedData) {
  const auto archive = zip_of({{"a", std::string(300, 'x'), true}});
  EXPECT_THAT(read_refusal(patched(archive, kLocalName + 1, 7, 1)),
              HasSubstr("damaged data"));
  // Data that ends before the mark of its end, and data after it.
  auto cut = zip_of({{"a", std::string(300, 'x'), true}, {"b", ""}});
  const auto entry = cut.find("PK\1\2");
  std::uint32_t compressed = 0;
  std::memcpy(&compressed, cut.data() + entry + kCompressed, 4);
  const auto sized = [&](std::uint64_t size) {
    return patched(patched(cut, kLocalCompressed, size, 4), entry + kCompressed,
                   size, 4);
  };
  EXPECT_THAT(read_refusal(sized(compressed - 2)),
              AnyOf(HasSubstr("damaged data"), HasSubstr("more bytes")));
}

TEST_F(ZipReaderTest, RefusesDataAfterTheEndOfDeflatedData) {
  const std::string bytes(300, 'x');
  // Stored first, so that the archive holds the data and one byte more.
  auto archive = zip_of({{"a", testing::deflated(bytes) + "!"}});
  const auto entry = archive.find("PK\1\2");
  archive = patched(archive, kLocalMethod, 8, 2);
  archive = patched(archive, entry + kMethod, 8, 2);
  archive = patched(archive, kLocalSize, bytes.size(), 4);
  archive = patched(archive, entry + kSize, bytes.size(), 4);
  EXPECT_THAT(read_refusal(archive), HasSubstr("data after its end"));
}

TEST_F(ZipReaderTest, RefusesAWrongChecksum) {
  for (const bool is_deflated : {false, true}) {
    const auto archive = zip_of({{"a", std::string(300, 'x'), is_deflated}});
    const auto entry = archive.find("PK\1\2");
    const auto wrong =
        patched(patched(archive, kLocalCrc, 1, 4), entry + kCrc, 1, 4);
    EXPECT_THAT(read_refusal(wrong), HasSubstr("wrong checksum"));
  }
  const auto file =
      open(patched(zip_of({{"a", "bytes"}}), kLocalName + 1, 'B', 1));
  EXPECT_THAT(error_of(ErrorCode::corrupt_file,
                       [&] { file.check_crc(file.entries()[0]); }),
              HasSubstr("entry a has the wrong checksum"));
}

TEST_F(ZipReaderTest, AMissingFileIsNotFound) {
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { ZipFile(folder_.path() / "absent"); }),
              HasSubstr("absent"));
}

}  // namespace
}  // namespace llamlx
