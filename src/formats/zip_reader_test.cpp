#include "formats/zip_reader.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
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
using testing::little;
using testing::patched;
using testing::TemporaryFolder;
using testing::zip_of;
using testing::ZipPart;

// Where fields are in a local header, a directory's entry and the end record.
constexpr std::size_t kLocalFlags = 6;
constexpr std::size_t kLocalMethod = 8;
constexpr std::size_t kLocalCrc = 14;
constexpr std::size_t kLocalCompressed = 18;
constexpr std::size_t kLocalSize = 22;
constexpr std::size_t kLocalName = 30;
constexpr std::size_t kFlags = 8;
constexpr std::size_t kMethod = 10;
constexpr std::size_t kCrc = 16;
constexpr std::size_t kCompressed = 20;
constexpr std::size_t kSize = 24;
constexpr std::size_t kDisk = 34;
constexpr std::size_t kOffset = 42;

std::string text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// Two entries of the two kinds.
std::vector<ZipPart> small_parts() {
  return {{"stored", "the bytes themselves"},
          {"deflated", std::string(500, 'x') + "y", true}};
}

class ZipReaderTest : public ::testing::Test {
 protected:
  ZipFile open(const std::string& bytes) const {
    return ZipFile(folder_.write("x.zip", bytes));
  }

  std::string refusal(const std::string& bytes,
                      ErrorCode code = ErrorCode::corrupt_file) const {
    const auto message = error_of(code, [&] { open(bytes); });
    EXPECT_THAT(message, HasSubstr("x.zip: "));
    return message;
  }

  /// How the small archive is refused with another value in the directory's
  /// entry of the first part.
  std::string refusal_of(std::size_t field, std::uint64_t value, int size,
                         ErrorCode code = ErrorCode::corrupt_file) const {
    const auto archive = zip_of(small_parts());
    const auto entry = archive.find("PK\1\2");
    const auto message =
        refusal(patched(archive, entry + field, value, size), code);
    EXPECT_THAT(message, HasSubstr("entry stored"));
    return message;
  }

  /// The same with another value in its local header.
  std::string local_refusal_of(std::size_t field, std::uint64_t value, int size,
                               ErrorCode code = ErrorCode::corrupt_file) const {
    const auto message =
        refusal(patched(zip_of(small_parts()), field, value, size), code);
    EXPECT_THAT(message, HasSubstr("entry stored"));
    return message;
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
  std::string large((std::size_t{40} << 20) + 3, '\0');
  for (std::size_t i = 0; i < large.size(); i += 1000) {
    large[i] = static_cast<char>(i / 1000);
  }
  const auto file = open(zip_of({{"a", large}, {"b", large, true}}));
  EXPECT_EQ(text_of(file.read(file.entries()[0], large.size())), large);
  EXPECT_EQ(text_of(file.read(file.entries()[1], large.size())), large);
  file.check_crc(file.entries()[0]);
}

TEST_F(ZipReaderTest, RefusesWhatIsNoZip) {
  EXPECT_THAT(refusal(""), HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("\x80\x02}q"), HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("#!/bin/sh\n" + zip_of(small_parts())),
              HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { ZipFile(folder_.path() / "absent"); }),
              HasSubstr("absent"));
}

TEST_F(ZipReaderTest, RefusesTruncationAnywhere) {
  for (const bool is_zip64 : {false, true}) {
    auto parts = small_parts();
    parts[0].is_zip64 = parts[1].has_descriptor = is_zip64;
    const auto archive = zip_of(parts, is_zip64);
    for (std::size_t size = 0; size < archive.size(); ++size) {
      refusal(archive.substr(0, size));
    }
  }
}

TEST_F(ZipReaderTest, RefusesTruncationAfterAnArchiveInTheArchive) {
  const auto inner = zip_of(small_parts());
  const auto archive = zip_of({{"inner", inner}, {"next", "bytes"}});
  for (std::size_t size = 0; size < archive.size(); ++size) {
    refusal(archive.substr(0, size));
  }
  EXPECT_EQ(open(archive).entries().size(), 2u);
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

TEST_F(ZipReaderTest, RefusesBytesAfterTheEnd) {
  EXPECT_THAT(refusal(zip_of(small_parts()) + "more"),
              HasSubstr("goes on after its end"));
}

TEST_F(ZipReaderTest, RefusesADirectoryOutOfTheFile) {
  const auto archive = zip_of(small_parts());
  const auto end = archive.size() - 22;
  for (const std::uint64_t value :
       {std::uint64_t{0}, zip::kMost32 - 1, zip::kMost32}) {
    EXPECT_THAT(refusal(patched(archive, end + 12, value, 4)),
                HasSubstr("not before its end record"));
    EXPECT_THAT(refusal(patched(archive, end + 16, value, 4)),
                HasSubstr("not before its end record"));
  }
}

TEST_F(ZipReaderTest, RefusesAZip64DirectoryOutOfTheFile) {
  const auto archive = zip_of(small_parts(), true);
  const auto locator = archive.rfind("PK\6\7");
  const auto record = archive.rfind("PK\6\6");
  for (const std::uint64_t value :
       {std::uint64_t{0}, std::uint64_t{1} << 32, ~std::uint64_t{0}}) {
    EXPECT_THAT(refusal(patched(archive, locator + 8, value, 8)),
                HasSubstr("zip64 end record"));
    EXPECT_THAT(refusal(patched(archive, record + 4, value, 8)),
                HasSubstr("zip64 end record"));
    EXPECT_THAT(refusal(patched(archive, record + 40, value, 8)),
                HasSubstr("not before its end record"));
    EXPECT_THAT(refusal(patched(archive, record + 48, value, 8)),
                HasSubstr("not before its end record"));
  }
  EXPECT_THAT(refusal(patched(archive, archive.size() - 6, 7, 4)),
              HasSubstr("disagree"));
}

TEST_F(ZipReaderTest, RefusesAbsurdNumbersOfEntries) {
  const auto archive = zip_of(small_parts());
  const auto end = archive.size() - 22;
  const auto counted = [&](std::uint64_t count) {
    return refusal(patched(archive, end + 8, count << 16 | count, 4));
  };
  EXPECT_THAT(counted(0xffff), HasSubstr("too few for its 65535 entries"));
  EXPECT_THAT(counted(1), HasSubstr("bytes of no entry in its directory"));
  EXPECT_THAT(counted(0), HasSubstr("bytes of no entry in its directory"));
  const auto archive64 = zip_of(small_parts(), true);
  const auto record = archive64.rfind("PK\6\6");
  const std::uint64_t many = std::uint64_t{1} << 60;
  EXPECT_THAT(refusal(patched(patched(archive64, record + 24, many, 8),
                              record + 32, many, 8)),
              HasSubstr("too few for its"));
}

TEST_F(ZipReaderTest, RefusesADamagedDirectory) {
  const auto archive = zip_of(small_parts());
  const auto entry = archive.rfind("PK\1\2");
  EXPECT_THAT(refusal(patched(archive, entry, 0, 1)),
              HasSubstr("damaged directory, in entry 2 of 2"));
  for (const std::size_t length : {28, 30, 32}) {
    refusal(patched(archive, entry + length, 0xffff, 2));
  }
}

TEST_F(ZipReaderTest, RefusesArchivesInSeveralParts) {
  const auto archive = zip_of(small_parts());
  const auto end = archive.size() - 22;
  for (const std::size_t field : {4, 6, 8}) {
    EXPECT_THAT(
        refusal(patched(archive, end + field, 1, 2), ErrorCode::unsupported),
        HasSubstr("one part of"));
  }
  const auto archive64 = zip_of(small_parts(), true);
  const auto locator = archive64.rfind("PK\6\7");
  const auto record = archive64.rfind("PK\6\6");
  for (const std::size_t field : {locator + 16, record + 16, record + 20}) {
    EXPECT_THAT(
        refusal(patched(archive64, field, 2, 4), ErrorCode::unsupported),
        HasSubstr("one part of"));
  }
  EXPECT_THAT(refusal_of(kDisk, 1, 2, ErrorCode::unsupported),
              HasSubstr("another part"));
}

TEST_F(ZipReaderTest, RefusesALocalHeaderThatSaysSomethingElse) {
  const auto archive = zip_of(small_parts());
  EXPECT_THAT(refusal(patched(archive, archive.rfind("PK\3\4"), 0, 4)),
              HasSubstr("entry deflated has no local header"));
  EXPECT_THAT(local_refusal_of(kLocalName, 'S', 1), HasSubstr("another name"));
  EXPECT_THAT(local_refusal_of(kLocalMethod, 8, 2),
              HasSubstr("another method"));
  EXPECT_THAT(local_refusal_of(kLocalSize, 7, 4), HasSubstr("another size"));
  EXPECT_THAT(local_refusal_of(kLocalCompressed, 7, 4),
              HasSubstr("another size"));
  EXPECT_THAT(local_refusal_of(kLocalSize, zip::kMost32, 4),
              HasSubstr("another size"));
  EXPECT_THAT(local_refusal_of(kLocalCrc, 7, 4), HasSubstr("another checksum"));
}

TEST_F(ZipReaderTest, RefusesALocalHeaderWithOtherZip64Sizes) {
  auto parts = small_parts();
  parts[0].is_zip64 = true;
  const auto archive = zip_of(parts);
  const auto extra = kLocalName + parts[0].name.size();
  for (const auto& [at, size] : {std::pair{4, 8}, {12, 8}, {0, 2}, {2, 2}}) {
    EXPECT_THAT(
        refusal(patched(archive, extra + static_cast<unsigned>(at), 5, size)),
        HasSubstr("entry stored has another size"));
  }
}

TEST_F(ZipReaderTest, RefusesSizesThatOverflow) {
  EXPECT_THAT(refusal_of(kSize, zip::kMost32, 4), HasSubstr("two sizes"));
  auto parts = small_parts();
  parts[0].is_zip64 = true;
  const auto archive = zip_of(parts);
  const auto extra = archive.find("PK\1\2") + 46 + parts[0].name.size() + 4;
  for (const std::uint64_t value :
       {std::uint64_t{1} << 32, std::uint64_t{1} << 63, ~std::uint64_t{0}}) {
    for (const bool is_local_too : {false, true}) {
      auto bytes =
          patched(patched(archive, extra, value, 8), extra + 8, value, 8);
      if (is_local_too) {
        const auto local = kLocalName + parts[0].name.size() + 4;
        bytes = patched(patched(bytes, local, value, 8), local + 8, value, 8);
      }
      EXPECT_THAT(refusal(bytes), HasSubstr("entry stored"));
    }
    EXPECT_THAT(refusal(patched(archive, extra + 16, value, 8)),
                HasSubstr("entry stored"));
  }
}

TEST_F(ZipReaderTest, RefusesEntriesThatOverlap) {
  // The second entry's local header lies within the first one's data.
  const auto inner = zip_of({{"b", "inside"}});
  const auto local = inner.substr(0, inner.find("PK\1\2"));
  auto archive = zip_of({{"a", local}, {"b", "inside"}});
  const auto second = archive.rfind("PK\1\2");
  EXPECT_THAT(refusal(patched(archive, second + kOffset, 31, 4)),
              HasSubstr("entry a overlaps b"));
  // The first one's data reaches into the second's header.
  const auto first = archive.find("PK\1\2");
  const auto size = local.size() + 4;
  for (const auto at :
       {kLocalCompressed, kLocalSize, first + kCompressed, first + kSize}) {
    archive = patched(archive, at, size, 4);
  }
  EXPECT_THAT(refusal(archive), HasSubstr("entry a overlaps b"));
}

TEST_F(ZipReaderTest, RefusesAnEntryThatReachesIntoTheDirectory) {
  auto archive = zip_of({{"a", "bytes"}});
  const auto first = archive.find("PK\1\2");
  for (const auto at :
       {kLocalCompressed, kLocalSize, first + kCompressed, first + kSize}) {
    archive = patched(archive, at, 6, 4);
  }
  EXPECT_THAT(refusal(archive), HasSubstr("entry a reaches beyond"));
  // Without room for a descriptor that should follow.
  archive = patched(zip_of({{"a", "bytes"}}), kLocalFlags, 8, 2);
  EXPECT_THAT(refusal(archive), HasSubstr("entry a overlaps the directory"));
}

TEST_F(ZipReaderTest, RefusesNamesThatOccurTwice) {
  EXPECT_THAT(refusal(zip_of({{"a", "1"}, {"b", ""}, {"a", "2"}})),
              HasSubstr("two entries called a"));
  EXPECT_THAT(refusal(zip_of({{std::string("a\0b", 3), "1"}})),
              HasSubstr("zero byte"));
}

TEST_F(ZipReaderTest, RefusesOtherMethodsByNumber) {
  for (const int method : {1, 9, 12, 14, 93, 99}) {
    EXPECT_THAT(refusal_of(kMethod, static_cast<unsigned>(method), 2,
                           ErrorCode::unsupported),
                HasSubstr(concat("compressed by method ", method)));
  }
}

TEST_F(ZipReaderTest, RefusesEncryptedEntries) {
  for (const unsigned flag : {1U, 1U << 6, 1U << 13}) {
    EXPECT_THAT(refusal_of(kFlags, flag, 2, ErrorCode::unsupported),
                HasSubstr("is encrypted"));
    EXPECT_THAT(local_refusal_of(kLocalFlags, flag, 2, ErrorCode::unsupported),
                HasSubstr("is encrypted"));
  }
}

TEST_F(ZipReaderTest, RefusesMoreBytesThanTheCallerTakes) {
  for (const bool is_deflated : {false, true}) {
    const auto archive = zip_of({{"a", std::string(11, 'x'), is_deflated}});
    EXPECT_THAT(read_refusal(archive, 10),
                HasSubstr("has 11 bytes where at most 10"));
  }
}

TEST_F(ZipReaderTest, RefusesSizesThatDeflateCannotReach) {
  auto archive = zip_of({{"a", std::string(100000, 'x'), true}});
  const auto entry = archive.find("PK\1\2");
  std::uint32_t compressed = 0;
  std::memcpy(&compressed, archive.data() + entry + kCompressed, 4);
  const auto sized = [&](std::uint64_t size) {
    return patched(patched(archive, kLocalSize, size, 4), entry + kSize, size,
                   4);
  };
  const auto limit = std::uint64_t{compressed} * 1032;
  EXPECT_THAT(refusal(sized(limit + 1032)), HasSubstr("which deflate cannot"));
  EXPECT_THAT(read_refusal(sized(limit)),
              HasSubstr("fewer bytes than it says"));
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

}  // namespace
}  // namespace llamlx
