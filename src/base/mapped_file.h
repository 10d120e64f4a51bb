#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string_view>

namespace llamlx {

/// A large page of Linux: those of its page cache are mapped whole.
inline constexpr std::size_t kLargePage = std::size_t{2} << 20;

/// A regular file mapped read-only into memory for as long as the object lives.
///
/// Errors: Error (not_found, io_error) when the file cannot be opened, is a
/// folder, or cannot be mapped. An empty file is an empty span.
/// Threads: the bytes may be read from any thread. Cutting the file short while
/// it is mapped is undefined, as with every mmap.
class MappedFile {
 public:
  explicit MappedFile(const std::filesystem::path& path);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  const std::filesystem::path& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }
  std::string_view text() const {
    return {reinterpret_cast<const char*>(bytes_.data()), bytes_.size()};
  }

  /// Brings these bytes into memory at once, which is cheaper than page by
  /// page as they are touched: from a disk in large pages (MADV_WILLNEED reads
  /// into small ones, which then stay in the cache). Only a hint.
  void populate(std::span<const std::byte> range) const;

  /// Tells the kernel that these bytes will not be read again soon, so that
  /// reading a checkpoint does not count as memory used. What lies within 2 MiB
  /// of them goes as well, and comes back when it is touched. Only a hint.
  void release(std::span<const std::byte> range) const;

 private:
  std::filesystem::path path_;
  std::span<const std::byte> bytes_;
};

/// MappedFile::release() for bytes of any file that is mapped; nothing for
/// others. Threads: any, while the file stays mapped.
void release_mapped(std::span<const std::byte> range);

}  // namespace llamlx
