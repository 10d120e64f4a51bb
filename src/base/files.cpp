#include "base/files.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <charconv>
#include <system_error>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "base/mapped_file.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kPartial = ".partial-";

std::string staging_prefix(const fs::path& target) {
  return concat(".", target.filename().string(), kPartial);
}

/// Brings a folder's list of names to the disk.
void sync_folder(const fs::path& folder) {
  const int fd = ::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return;  // some file systems do not open folders; not our loss
  ::fsync(fd);
  ::close(fd);
}

bool process_runs(pid_t pid) {
  return ::kill(pid, 0) == 0 || errno == EPERM;
}

/// Removes staging folders whose writer was killed.
void remove_leftovers(const fs::path& target) {
  const auto prefix = staging_prefix(target);
  std::error_code ignored;
  for (const auto& entry :
       fs::directory_iterator(target.parent_path(), ignored)) {
    const auto name = entry.path().filename().string();
    if (!name.starts_with(prefix)) continue;
    pid_t pid = 0;
    const char* end = name.data() + name.size();
    const auto parsed = std::from_chars(name.data() + prefix.size(), end, pid);
    if (parsed.ec != std::errc() || parsed.ptr != end) continue;
    if (!process_runs(pid)) fs::remove_all(entry.path(), ignored);
  }
}

/// Puts `from` in the place of the folder `to`, which ends up at `from`.
/// Returns false where the system cannot exchange two names in one step.
bool exchange(const fs::path& from, const fs::path& to) {
#if defined(__APPLE__)
  return ::renamex_np(from.c_str(), to.c_str(), RENAME_SWAP) == 0;
#else
  return ::renameat2(AT_FDCWD, from.c_str(), AT_FDCWD, to.c_str(),
                     RENAME_EXCHANGE) == 0;
#endif
}

void rename_or_fail(const fs::path& from, const fs::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) fail_errno(errno, to, "create");
}

void check_replaceable(const fs::path& target) {
  std::error_code error;
  const auto status = fs::status(target, error);
  if (!fs::exists(status)) return;
  if (!fs::is_directory(status)) {
    fail(ErrorCode::io_error, target.string(), "exists and is not a folder",
         "choose another destination");
  }
  if (!fs::is_empty(target, error) && !fs::exists(target / "config.json")) {
    fail(ErrorCode::io_error, target.string(),
         "is a folder that holds something other than a model",
         "choose another destination or empty the folder");
  }
}

}  // namespace

OutputFile::OutputFile(const fs::path& path) : path_(path) {
  fd_ = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd_ < 0) fail_errno(errno, path, "create");
}

OutputFile::~OutputFile() {
  if (fd_ >= 0) ::close(fd_);
}

void OutputFile::write(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(errno, path_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
  }
}

void OutputFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void OutputFile::finish() {
  if (::fsync(fd_) != 0) fail_errno(errno, path_, "write");
  if (::close(std::exchange(fd_, -1)) != 0) fail_errno(errno, path_, "write");
}

void write_file(const fs::path& path, std::string_view content) {
  OutputFile file(path);
  file.write(content);
  file.finish();
}

void copy_file(const fs::path& from, const fs::path& to) {
  const MappedFile source(from);
  write_file(to, source.text());
}

StagedFolder::StagedFolder(fs::path target) {
  target = fs::absolute(target).lexically_normal();
  if (!target.has_filename()) target = target.parent_path();
  std::error_code error;
  // A link to a model folder stays a link; what it points to is replaced.
  if (fs::exists(target, error)) target = fs::canonical(target);
  target_ = std::move(target);
  check_replaceable(target_);
  fs::create_directories(target_.parent_path(), error);
  if (error) fail_errno(error.value(), target_.parent_path(), "create");
  remove_leftovers(target_);
  const auto name = concat(staging_prefix(target_), ::getpid());
  const auto staging = target_.parent_path() / name;
  fs::remove_all(staging, error);
  if (::mkdir(staging.c_str(), 0755) != 0) {
    fail_errno(errno, target_, "create");
  }
  staging_ = staging;
}

StagedFolder::~StagedFolder() {
  std::error_code ignored;
  if (!staging_.empty()) fs::remove_all(staging_, ignored);
}

void StagedFolder::commit() {
  sync_folder(staging_);
  std::error_code ignored;
  if (!fs::exists(target_, ignored)) {
    rename_or_fail(staging_, target_);
    staging_.clear();
  } else if (!exchange(staging_, target_)) {
    const fs::path old = staging_.string() + ".old";
    rename_or_fail(target_, old);
    rename_or_fail(staging_, target_);
    staging_ = old;
  }
  sync_folder(target_.parent_path());
}

}  // namespace llamlx
