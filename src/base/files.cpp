#include "base/files.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

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

bool process_runs(pid_t pid) { return ::kill(pid, 0) == 0 || errno == EPERM; }

/// Numbers the staging folders of this process.
std::atomic<unsigned> next_staging_number = 0;

/// True when the writer of the staging folder with this suffix, "<pid>-<n>", is
/// gone. A number this process has yet to give out was given out by an earlier
/// process with the same id (in a container most have the same).
bool is_leftover(std::string_view suffix) {
  pid_t pid = 0;
  unsigned number = 0;
  const char* end = suffix.data() + suffix.size();
  const auto pid_end = std::from_chars(suffix.data(), end, pid);
  if (pid_end.ec != std::errc() || pid_end.ptr == end) return false;
  const auto number_end = std::from_chars(pid_end.ptr + 1, end, number);
  if (*pid_end.ptr != '-' || number_end.ec != std::errc()) return false;
  if (number_end.ptr != end || pid <= 0) return false;
  return pid == ::getpid() ? number >= next_staging_number : !process_runs(pid);
}

void remove_leftovers(const fs::path& target) {
  const auto prefix = staging_prefix(target);
  std::error_code ignored;
  std::vector<fs::path> leftovers;
  for (auto entry = fs::directory_iterator(target.parent_path(), ignored);
       !ignored && entry != fs::directory_iterator();
       entry.increment(ignored)) {
    const auto name = entry->path().filename().string();
    if (!name.starts_with(prefix)) continue;
    const auto suffix = std::string_view(name).substr(prefix.size());
    if (is_leftover(suffix)) leftovers.push_back(entry->path());
  }
  for (const auto& leftover : leftovers) fs::remove_all(leftover, ignored);
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

/// Whether llamlx or mlx_lm may have written such a file beside weights.
bool is_of_a_model(const fs::directory_entry& entry) {
  constexpr std::array<std::string_view, 6> kExtensions = {
      ".jinja", ".json", ".model", ".npz", ".safetensors", ".tiktoken"};
  constexpr std::array<std::string_view, 3> kNames = {"README.md", "merges.txt",
                                                      "vocab.txt"};
  std::error_code error;
  if (fs::is_directory(entry.symlink_status(error))) return false;
  const auto name = entry.path().filename().string();
  const auto extension = entry.path().extension().string();
  return std::ranges::count(kExtensions, extension) > 0 ||
         std::ranges::count(kNames, name) > 0 ||
         name.starts_with("tokenizer.model.v");
}

/// Why a folder may not be replaced; empty if it may.
std::string objection_to(const fs::path& folder) {
  constexpr auto kOther = "is a folder that holds something other than a model";
  std::error_code error;
  bool is_empty = true;
  bool has_config = false;
  bool has_weights = false;
  auto entry = fs::directory_iterator(folder, error);
  while (!error && entry != fs::directory_iterator()) {
    is_empty = false;
    const auto& path = entry->path();
    if (!is_of_a_model(*entry)) {
      return concat(kOther, ": ", path.filename().string());
    }
    has_config |= path.filename() == "config.json";
    has_weights |=
        path.extension() == ".safetensors" || path.extension() == ".npz";
    entry.increment(error);
  }
  if (error) fail_errno(error.value(), folder, "read the folder");
  return is_empty || (has_config && has_weights) ? "" : kOther;
}

void check_replaceable(const fs::path& target) {
  std::error_code error;
  const auto status = fs::status(target, error);
  if (!fs::exists(status)) {
    if (!fs::is_symlink(fs::symlink_status(target, error))) return;
    fail(ErrorCode::io_error, target.string(), "is a link that leads nowhere",
         "remove it or choose another destination");
  }
  if (!fs::is_directory(status)) {
    fail(ErrorCode::io_error, target.string(), "exists and is not a folder",
         "choose another destination");
  }
  if (const auto cause = objection_to(target); !cause.empty()) {
    fail(ErrorCode::io_error, target.string(), cause,
         "choose another destination or empty the folder");
  }
}

/// The target as an absolute path without a trailing slash, links followed.
fs::path resolved(const fs::path& target) {
  std::error_code error;
  auto path = fs::absolute(target, error).lexically_normal();
  if (error) fail_errno(error.value(), target, "find the folder");
  if (!path.has_filename()) path = path.parent_path();
  const auto real = fs::canonical(path, error);
  return error ? path : real;
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
  if (!waiting_.empty()) {
    const auto fitting =
        bytes.first(std::min(kLargePage - waiting_.size(), bytes.size()));
    waiting_.insert(waiting_.end(), fitting.begin(), fitting.end());
    bytes = bytes.subspan(fitting.size());
    if (waiting_.size() < kLargePage) return;
    put(waiting_);
    waiting_.clear();
  }
  const auto rest = bytes.last(bytes.size() % kLargePage);
  put(bytes.first(bytes.size() - rest.size()));
  waiting_.insert(waiting_.end(), rest.begin(), rest.end());
}

void OutputFile::put(std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const auto written = ::write(fd_, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(errno, path_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    written_ += static_cast<std::uint64_t>(written);
  }
  start_writeback();
}

/// Lets the disk work while the next bytes are made, instead of all at the end.
void OutputFile::start_writeback() {
#ifdef SYNC_FILE_RANGE_WRITE
  constexpr std::uint64_t kStep = std::uint64_t{32} << 20;
  if (written_ - handed_on_ < kStep) return;
  // Only a hint: finish() waits for everything, and tells what went wrong.
  ::sync_file_range(fd_, static_cast<off_t>(handed_on_),
                    static_cast<off_t>(written_ - handed_on_),
                    SYNC_FILE_RANGE_WRITE);
  handed_on_ = written_;
#endif
}

void OutputFile::write(std::string_view text) {
  write(std::as_bytes(std::span(text.data(), text.size())));
}

void OutputFile::rewrite(std::uint64_t offset,
                         std::span<const std::byte> bytes) {
  while (!bytes.empty() && offset < written_) {
    const auto stored = static_cast<std::size_t>(
        std::min<std::uint64_t>(bytes.size(), written_ - offset));
    const auto written =
        ::pwrite(fd_, bytes.data(), stored, static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail_errno(errno, path_, "write");
    bytes = bytes.subspan(static_cast<std::size_t>(written));
    offset += static_cast<std::uint64_t>(written);
  }
  if (bytes.empty()) return;
  std::ranges::copy(
      bytes, waiting_.begin() + static_cast<std::ptrdiff_t>(offset - written_));
}

void OutputFile::finish() {
  put(waiting_);
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

StagedFolder::StagedFolder(const fs::path& target) : target_(resolved(target)) {
  check_replaceable(target_);
  std::error_code error;
  fs::create_directories(target_.parent_path(), error);
  if (error) fail_errno(error.value(), target_.parent_path(), "create");
  remove_leftovers(target_);
  const auto name = concat(staging_prefix(target_), ::getpid(), "-",
                           next_staging_number.fetch_add(1));
  const auto staging = target_.parent_path() / name;
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
  check_replaceable(target_);
  std::error_code ignored;
  if (!fs::exists(target_, ignored)) {
    rename_or_fail(staging_, target_);
    staging_.clear();
  } else if (!exchange(staging_, target_)) {
    const fs::path old = staging_.string() + ".old";
    rename_or_fail(target_, old);
    if (::rename(staging_.c_str(), target_.c_str()) != 0) {
      const int error_number = errno;
      fs::rename(old, target_, ignored);
      fail_errno(error_number, target_, "create");
    }
    staging_ = old;
  }
  sync_folder(target_.parent_path());
}

}  // namespace llamlx
