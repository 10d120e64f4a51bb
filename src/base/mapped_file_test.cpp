#include "base/mapped_file.h"

#include <filesystem>
#include <span>
#include <string>
#include <utility>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

TEST(MappedFileTest, ShowsTheBytesOfTheFile) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("a", std::string("x\0y", 3)));
  EXPECT_EQ(file.text(), std::string_view("x\0y", 3));
  EXPECT_EQ(file.bytes().size(), 3u);
  EXPECT_EQ(file.path(), folder.path() / "a");
}

TEST(MappedFileTest, AnEmptyFileIsAnEmptySpan) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("a", ""));
  EXPECT_TRUE(file.bytes().empty());
}

TEST(MappedFileTest, BytesStayReadableAfterTheyAreReleased) {
  const TemporaryFolder folder;
  const std::string content(100'000, 'q');
  const MappedFile file(folder.write("a", content));
  EXPECT_EQ(file.text(), content);
  file.release(file.bytes());
  file.release(file.bytes().subspan(5000, 10));
  file.release({});
  EXPECT_EQ(file.text(), content);
}

TEST(MappedFileTest, BytesOfAnyMappedFileCanBeReleased) {
  const TemporaryFolder folder;
  const std::string content(100'000, 'q');
  MappedFile first(folder.write("a", content));
  const MappedFile file(std::move(first));
  release_mapped(file.bytes().subspan(5000, 10));
  EXPECT_EQ(file.text(), content);
}

TEST(MappedFileTest, MemoryThatIsNoFileIsNotReleased) {
  const TemporaryFolder folder;
  const MappedFile file(folder.write("a", "some"));
  const std::string memory(3 * kLargePage, 'q');
  release_mapped(std::as_bytes(std::span(memory)));
  EXPECT_EQ(memory, std::string(3 * kLargePage, 'q'));
}

TEST(MappedFileTest, MovingCarriesTheMapping) {
  const TemporaryFolder folder;
  MappedFile first(folder.write("a", "one"));
  MappedFile second(folder.write("b", "two"));
  const MappedFile moved(std::move(first));
  EXPECT_EQ(moved.text(), "one");
  EXPECT_TRUE(first.bytes().empty());  // NOLINT: what a move leaves is told
  second = MappedFile(folder.path() / "a");
  EXPECT_EQ(second.text(), "one");
}

TEST(MappedFileTest, RefusesWhatIsNotARegularFile) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { MappedFile(folder.path() / "absent"); }),
              HasSubstr("absent: cannot open"));
  EXPECT_THAT(
      error_of(ErrorCode::io_error, [&] { MappedFile file(folder.path()); }),
      HasSubstr("is not a regular file"));
}

TEST(MappedFileTest, DoesNotWaitForTheWriterOfAPipe) {
  const TemporaryFolder folder;
  const auto pipe = folder.path() / "pipe";
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  EXPECT_THAT(error_of(ErrorCode::io_error, [&] { MappedFile file(pipe); }),
              HasSubstr("is not a regular file"));
}

}  // namespace
}  // namespace llamlx
