#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// A file being written from front to back, in whole blocks of 2 MiB: Linux
/// then keeps it in large pages of its cache, and maps it by those
/// (MappedFile).
///
/// Errors: every call throws Error (no_space, io_error) naming the file when
/// the system refuses; what does not fill a block is refused by a later call.
/// The destructor closes, leaves that unwritten and never throws: call
/// finish().
class OutputFile {
 public:
  explicit OutputFile(const std::filesystem::path& path);
  OutputFile(const OutputFile&) = delete;
  OutputFile& operator=(const OutputFile&) = delete;
  ~OutputFile();

  void write(std::span<const std::byte> bytes);
  void write(std::string_view text);

  /// Replaces bytes that were written before; what comes next is still written
  /// at the end.
  void rewrite(std::uint64_t offset, std::span<const std::byte> bytes);

  /// Brings every byte to the disk (fsync) and closes the file.
  void finish();

 private:
  void put(std::span<const std::byte> bytes);
  void start_writeback();

  std::filesystem::path path_;
  int fd_;
  std::uint64_t written_ = 0;       // whole blocks, until finish()
  std::vector<std::byte> waiting_;  // what comes after them, less than a block
  std::uint64_t handed_on_ = 0;     // bytes the disk has been asked to take
};

/// Creates or replaces the file `path` with `content`, brought to the disk.
void write_file(const std::filesystem::path& path, std::string_view content);

/// Copies one file, brought to the disk.
void copy_file(const std::filesystem::path& from,
               const std::filesystem::path& to);

/// A folder built beside its final place and moved there whole.
///
/// Example:
///     StagedFolder staged("mlx_model");
///     write_file(staged.path() / "config.json", text);
///     staged.commit();   // "mlx_model" is now exactly what was written
///
/// Until commit() the target is untouched; destruction without commit() removes
/// what was written. The staging folder is a hidden sibling of the target
/// (".<name>.partial-<pid>-<n>"), so the move is a rename on the same disk;
/// left-overs of processes that no longer run are removed when a new one
/// starts. A link to a folder stays a link: what it points to is replaced.
///
/// Only an empty folder or a model folder is ever replaced: one that holds
/// config.json, weights (*.safetensors or *.npz), and no files but such as
/// llamlx and mlx_lm write.
/// Errors: Error (io_error, no_space) when the parent cannot be written or the
/// target may not be replaced, from the constructor and again from commit().
/// Threads: several may stage, even for one target; the last commit() stays.
class StagedFolder {
 public:
  explicit StagedFolder(const std::filesystem::path& target);
  StagedFolder(const StagedFolder&) = delete;
  StagedFolder& operator=(const StagedFolder&) = delete;
  ~StagedFolder();

  const std::filesystem::path& path() const { return staging_; }
  void commit();

 private:
  std::filesystem::path target_;
  std::filesystem::path staging_;
};

}  // namespace llamlx
