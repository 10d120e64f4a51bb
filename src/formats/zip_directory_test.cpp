#include "formats/zip_directory.h"

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/zip_layout.h"
#include "formats/zip_testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::kCompressed;
using testing::kDisk;
using testing::kFlags;
using testing::kLocalCompressed;
using testing::kLocalCrc;
using testing::kLocalFlags;
using testing::kLocalMethod;
using testing::kLocalName;
using testing::kLocalSize;
using testing::kMethod;
using testing::kOffset;
using testing::kSize;
using testing::patched;
using testing::small_parts;
using testing::TemporaryFolder;
using testing::zip_of;

class ZipDirectoryTest : public ::testing::Test {
 protected:
  std::vector<ZipEntry> read(const std::string& bytes) const {
    return read_zip_directory(MappedFile(folder_.write("x.zip", bytes)));
  }

  std::string refusal(const std::string& bytes,
                      ErrorCode code = ErrorCode::corrupt_file) const {
    const auto message = error_of(code, [&] { read(bytes); });
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

  TemporaryFolder folder_;
};

TEST_F(ZipDirectoryTest, RefusesWhatIsNoZip) {
  EXPECT_THAT(refusal(""), HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("\x80\x02}q"), HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("#!/bin/sh\n" + zip_of(small_parts())),
              HasSubstr("is not a zip archive"));
  EXPECT_THAT(refusal("version https://git-lfs.github.com/spec/v1\n"),
              HasSubstr("git lfs pull"));
}

TEST_F(ZipDirectoryTest, RefusesTruncationAnywhere) {
  for (const bool is_zip64 : {false, true}) {
    auto parts = small_parts();
    parts[0].is_zip64 = parts[1].has_descriptor = is_zip64;
    const auto archive = zip_of(parts, is_zip64);
    for (std::size_t size = 0; size < archive.size(); ++size) {
      refusal(archive.substr(0, size));
    }
  }
}

TEST_F(ZipDirectoryTest, RefusesTruncationAfterAnArchiveInTheArchive) {
  const auto inner = zip_of(small_parts());
  const auto archive = zip_of({{"inner", inner}, {"next", "bytes"}});
  for (std::size_t size = 0; size < archive.size(); ++size) {
    refusal(archive.substr(0, size));
  }
  EXPECT_EQ(read(archive).size(), 2u);
}

TEST_F(ZipDirectoryTest, RefusesBytesAfterTheEnd) {
  EXPECT_THAT(refusal(zip_of(small_parts()) + "more"),
              HasSubstr("goes on after its end"));
}

TEST_F(ZipDirectoryTest, RefusesADirectoryOutOfTheFile) {
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

TEST_F(ZipDirectoryTest, RefusesAZip64DirectoryOutOfTheFile) {
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

TEST_F(ZipDirectoryTest, RefusesAbsurdNumbersOfEntries) {
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

TEST_F(ZipDirectoryTest, RefusesADamagedDirectory) {
  const auto archive = zip_of(small_parts());
  const auto entry = archive.rfind("PK\1\2");
  EXPECT_THAT(refusal(patched(archive, entry, 0, 1)),
              HasSubstr("damaged directory, in entry 2 of 2"));
  for (const std::size_t length : {28, 30, 32}) {
    refusal(patched(archive, entry + length, 0xffff, 2));
  }
}

TEST_F(ZipDirectoryTest, RefusesArchivesInSeveralParts) {
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

TEST_F(ZipDirectoryTest, RefusesALocalHeaderThatSaysSomethingElse) {
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

TEST_F(ZipDirectoryTest, RefusesALocalHeaderWithOtherZip64Sizes) {
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

TEST_F(ZipDirectoryTest, RefusesSizesThatOverflow) {
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

TEST_F(ZipDirectoryTest, RefusesEntriesThatOverlap) {
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

TEST_F(ZipDirectoryTest, RefusesAnEntryThatReachesIntoTheDirectory) {
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

TEST_F(ZipDirectoryTest, RefusesNamesThatOccurTwice) {
  EXPECT_THAT(refusal(zip_of({{"a", "1"}, {"b", ""}, {"a", "2"}})),
              HasSubstr("two entries called a"));
  EXPECT_THAT(refusal(zip_of({{std::string("a\0b", 3), "1"}})),
              HasSubstr("zero byte"));
}

TEST_F(ZipDirectoryTest, RefusesOtherMethodsByNumber) {
  for (const int method : {1, 9, 12, 14, 93, 99}) {
    EXPECT_THAT(refusal_of(kMethod, static_cast<unsigned>(method), 2,
                           ErrorCode::unsupported),
                HasSubstr(concat("compressed by method ", method)));
  }
}

TEST_F(ZipDirectoryTest, RefusesEncryptedEntries) {
  for (const unsigned flag : {1U, 1U << 6, 1U << 13}) {
    EXPECT_THAT(refusal_of(kFlags, flag, 2, ErrorCode::unsupported),
                HasSubstr("is encrypted"));
    EXPECT_THAT(local_refusal_of(kLocalFlags, flag, 2, ErrorCode::unsupported),
                HasSubstr("is encrypted"));
  }
}

TEST_F(ZipDirectoryTest, RefusesSizesThatDeflateCannotReach) {
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
  EXPECT_EQ(read(sized(limit)).size(), 1u);
}

}  // namespace
}  // namespace llamlx
