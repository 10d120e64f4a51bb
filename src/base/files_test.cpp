#include "base/files.h"

#include <algorithm>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/concat.h"
#include "base/testing.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

using testing::error_in_child;
using testing::error_of;
using testing::names_in;
using testing::read_bytes;
using testing::TemporaryFolder;

constexpr std::size_t kBlock = std::size_t{2} << 20;

void write_model(const fs::path& folder, const std::string& config) {
  write_file(folder / "config.json", config);
  write_file(folder / "model.safetensors", "weights");
}

TEST(OutputFileTest, WritesEveryByteInOrder) {
  const TemporaryFolder folder;
  OutputFile file(folder.path() / "a");
  file.write("one ");
  file.write(std::string(100'000, 'x'));
  file.write("");
  file.finish();
  EXPECT_EQ(read_bytes(folder.path() / "a"),
            "one " + std::string(100'000, 'x'));
}

TEST(OutputFileTest, RewritesBytesAndGoesOnAtTheEnd) {
  const TemporaryFolder folder;
  OutputFile file(folder.path() / "a");
  file.write("one two three");
  const std::string two = "TWO";
  file.rewrite(4, std::as_bytes(std::span(two)));
  file.write(" four");
  file.finish();
  EXPECT_EQ(read_bytes(folder.path() / "a"), "one TWO three four");
}

// Of sizes that fill blocks of 2 MiB, and end before, at and after their ends.
TEST(OutputFileTest, WritesAndRewritesAcrossBlocks) {
  const TemporaryFolder folder;
  OutputFile file(folder.path() / "a");
  std::string expected;
  for (const std::size_t size :
       {std::size_t{3}, kBlock - 4, std::size_t{1}, std::size_t{7}, 2 * kBlock,
        kBlock - 7, 3 * kBlock, 2 * kBlock + 5}) {
    const std::string piece(size, static_cast<char>('a' + expected.size() % 7));
    file.write(piece);
    expected += piece;
    const std::string mark = "0123456789";
    if (expected.size() < mark.size()) continue;
    for (const auto offset : {std::size_t{0}, expected.size() / kBlock * kBlock,
                              expected.size() - mark.size()}) {
      const auto at = std::min(offset, expected.size() - mark.size());
      file.rewrite(at, std::as_bytes(std::span(mark)));
      expected.replace(at, mark.size(), mark);
    }
  }
  file.finish();
  EXPECT_TRUE(read_bytes(folder.path() / "a") == expected);
}

TEST(OutputFileTest, ReplacesWhatWasThere) {
  const TemporaryFolder folder;
  write_file(folder.write("a", "a long old text"), "new");
  EXPECT_EQ(read_bytes(folder.path() / "a"), "new");
}

TEST(OutputFileTest, NamesTheFileItCannotCreate) {
  const TemporaryFolder folder;
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { OutputFile(folder.path() / "no" / "a"); }),
              HasSubstr("no/a: cannot create"));
  EXPECT_THAT(
      error_of(ErrorCode::io_error, [&] { OutputFile file(folder.path()); }),
      HasSubstr("cannot create"));
}

TEST(OutputFileTest, AFullDeviceIsNoSpace) {
  if (!fs::exists("/dev/full")) GTEST_SKIP() << "there is no /dev/full here";
  OutputFile file("/dev/full");
  file.write("x");
  const auto refused = HasSubstr(
      "/dev/full: cannot write (No space left on device); free some space");
  EXPECT_THAT(error_of(ErrorCode::no_space, [&] { file.finish(); }), refused);
  const std::string block(kBlock, 'x');
  EXPECT_THAT(error_of(ErrorCode::no_space, [&] { file.write(block); }),
              refused);
}

TEST(OutputFileTest, AFileThatMayNotGrowIsNoSpace) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "a";
  const auto message =
      error_in_child([] { testing::limit_file_size(1000); },
                     [&] { write_file(path, std::string(5000, 'x')); });
  EXPECT_EQ(message,
            concat(static_cast<int>(ErrorCode::no_space), " ", path.string(),
                   ": cannot write (File too large); free some space or choose "
                   "another disk"));
}

TEST(OutputFileTest, CopiesAFile) {
  const TemporaryFolder folder;
  const auto from = folder.write("a", std::string(10'000, 'y'));
  llamlx::copy_file(from, folder.path() / "b");
  EXPECT_EQ(read_bytes(folder.path() / "b"), read_bytes(from));
  llamlx::copy_file(folder.write("empty", ""), folder.path() / "c");
  EXPECT_EQ(read_bytes(folder.path() / "c"), "");
}

TEST(StagedFolderTest, AppearsWholeAtCommit) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "deep" / "model";
  StagedFolder staged(target);
  write_model(staged.path(), "new");
  EXPECT_FALSE(fs::exists(target));
  staged.commit();
  EXPECT_EQ(read_bytes(target / "config.json"), "new");
  EXPECT_THAT(names_in(folder.path() / "deep"), ElementsAre("model"));
}

TEST(StagedFolderTest, ReplacesAModelWhole) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "model";
  fs::create_directory(target);
  write_model(target, "old");
  for (const auto* name : {"tokenizer.json", "tokenizer.model.v3", "README.md",
                           "merges.txt", "chat_template.jinja"}) {
    write_file(target / name, "old");
  }
  {
    StagedFolder staged(target);
    write_model(staged.path(), "new");
    EXPECT_EQ(read_bytes(target / "config.json"), "old");
    staged.commit();
  }
  EXPECT_EQ(read_bytes(target / "config.json"), "new");
  EXPECT_THAT(names_in(target),
              ElementsAre("config.json", "model.safetensors"));
  EXPECT_THAT(names_in(folder.path()), ElementsAre("model"));
}

TEST(StagedFolderTest, ReplacesAnEmptyFolder) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "model";
  fs::create_directory(target);
  StagedFolder staged(target.string() + "/");
  write_model(staged.path(), "new");
  staged.commit();
  EXPECT_EQ(read_bytes(target / "config.json"), "new");
}

TEST(StagedFolderTest, AFailureLeavesTheOldModelAndNothingElse) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "model";
  fs::create_directory(target);
  write_model(target, "old");
  const auto half_a_conversion = [&] {
    const StagedFolder staged(target);
    write_model(staged.path(), "new");
    fail(ErrorCode::no_space, "disk", "is full", "free some space");
  };
  EXPECT_THROW(half_a_conversion(), Error);
  EXPECT_EQ(read_bytes(target / "config.json"), "old");
  EXPECT_THAT(names_in(folder.path()), ElementsAre("model"));
}

TEST(StagedFolderTest, RefusesToReplaceAnythingButAModel) {
  const TemporaryFolder folder;
  const auto refused = [&](const fs::path& target) {
    return error_of(ErrorCode::io_error, [&] { StagedFolder staged(target); });
  };
  EXPECT_THAT(refused(folder.write("file", "x")),
              HasSubstr("file: exists and is not a folder"));
  const auto notes = folder.write("notes/a.txt", "x").parent_path();
  EXPECT_THAT(refused(notes), HasSubstr("something other than a model"));
  const auto settings = folder.write("app/config.json", "{}").parent_path();
  EXPECT_THAT(refused(settings), HasSubstr("something other than a model"));
  const auto project = folder.path() / "project";
  fs::create_directories(project / "src");
  write_model(project, "{}");
  EXPECT_THAT(refused(project), HasSubstr("something other than a model"));
  const auto thesis = folder.write("work/thesis.txt", "x").parent_path();
  write_model(thesis, "{}");
  EXPECT_THAT(refused(thesis), HasSubstr("other than a model: thesis.txt"));
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("app", "file", "notes", "project", "work"));
}

TEST(StagedFolderTest, ChecksAgainWhatAppearedMeanwhile) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "model";
  StagedFolder staged(target);
  write_model(staged.path(), "new");
  folder.write("model/thesis.txt", "years of work");
  EXPECT_THAT(error_of(ErrorCode::io_error, [&] { staged.commit(); }),
              HasSubstr("something other than a model"));
  EXPECT_EQ(read_bytes(target / "thesis.txt"), "years of work");
}

TEST(StagedFolderTest, FollowsALinkAndKeepsIt) {
  const TemporaryFolder folder;
  const auto real = folder.path() / "real";
  fs::create_directory(real);
  write_model(real, "old");
  const auto link = folder.path() / "link";
  fs::create_directory_symlink(real, link);
  StagedFolder staged(link);
  write_model(staged.path(), "new");
  staged.commit();
  EXPECT_TRUE(fs::is_symlink(link));
  EXPECT_EQ(read_bytes(real / "config.json"), "new");
}

TEST(StagedFolderTest, RefusesALinkThatLeadsNowhere) {
  const TemporaryFolder folder;
  fs::create_symlink("absent", folder.path() / "link");
  EXPECT_THAT(error_of(ErrorCode::io_error,
                       [&] { StagedFolder(folder.path() / "link"); }),
              HasSubstr("leads nowhere"));
}

TEST(StagedFolderTest, RemovesWhatKilledProcessesLeft) {
  const TemporaryFolder folder;
  const pid_t child = ::fork();
  if (child == 0) ::_exit(0);
  ::waitpid(child, nullptr, 0);
  const auto partial = [&](auto suffix) {
    return concat(".model.partial-", suffix, "/x");
  };
  folder.write(partial(concat(child, "-0")), "of a dead process");
  folder.write(partial(concat(::getpid(), "-4000000000")), "of a former self");
  folder.write(partial(concat(::getppid(), "-0")), "of a living process");
  folder.write(partial("notes"), "of a person");
  folder.write(".other.partial-" + std::to_string(child) + "-0/x", "other");
  const auto target = folder.path() / "model";
  { const StagedFolder staged(target); }
  std::vector<std::string> kept = {concat(".model.partial-", ::getppid(), "-0"),
                                   ".model.partial-notes",
                                   concat(".other.partial-", child, "-0")};
  EXPECT_EQ(names_in(folder.path()), kept);
}

TEST(StagedFolderTest, TwoStagesOfOneTargetDoNotMeet) {
  const TemporaryFolder folder;
  const auto target = folder.path() / "model";
  StagedFolder first(target);
  StagedFolder second(target);
  write_model(first.path(), "first");
  write_model(second.path(), "second");
  first.commit();
  second.commit();
  EXPECT_EQ(read_bytes(target / "config.json"), "second");
}

TEST(StagedFolderTest, NamesAParentThatCannotBeMade) {
  const TemporaryFolder folder;
  const auto file = folder.write("file", "x");
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { StagedFolder staged(file / "model"); }),
              HasSubstr("file: cannot create"));
}

TEST(StagedFolderTest, AReadOnlyParentIsAnIoError) {
  const TemporaryFolder folder;
  const auto parent = folder.write("parent/x", "").parent_path();
  fs::permissions(parent, fs::perms::owner_read | fs::perms::owner_exec |
                              fs::perms::others_read | fs::perms::others_exec);
  const auto message = error_in_child(testing::without_privileges, [&] {
    StagedFolder staged(parent / "model");
  });
  EXPECT_EQ(message, concat(static_cast<int>(ErrorCode::io_error), " ",
                            (parent / "model").string(),
                            ": cannot create (Permission denied); check the "
                            "permissions or choose another folder"));
  fs::permissions(parent, fs::perms::owner_all);
}

TEST(StagedFolderTest, AnEmptyPathIsRefused) {
  EXPECT_THROW(StagedFolder(""), Error);
}

}  // namespace
}  // namespace llamlx
