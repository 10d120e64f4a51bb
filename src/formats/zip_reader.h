#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"
#include "formats/zip_directory.h"

namespace llamlx {

/// What becomes of pages of a file that were read to be checked: kept when
/// their values are read next.
enum class PagesRead { released, kept };

/// A zip archive, mapped; its whole directory is checked when it is opened, as
/// read_zip_directory() says, zip64 included.
///
/// The entries given to members must be elements of entries().
/// Errors: Error naming the file and the entry: not_found, io_error,
/// corrupt_file, unsupported, out_of_memory.
/// Threads: const members may be called from several threads.
class ZipFile {
 public:
  explicit ZipFile(const std::filesystem::path& path);

  const std::shared_ptr<const MappedFile>& file() const { return file_; }

  /// Sorted by name; no name occurs twice.
  const std::vector<ZipEntry>& entries() const { return entries_; }

  /// The entry called `name`, or nullptr.
  const ZipEntry* find(std::string_view name) const;

  /// The bytes of a stored entry where they lie in the mapping; their CRC is
  /// not checked. std::invalid_argument for a deflated one.
  std::span<const std::byte> stored_bytes(const ZipEntry& entry) const;

  /// The bytes of an entry, stored or deflated; their CRC is checked.
  /// corrupt_file when they are more than `most_bytes`, before any is read.
  std::vector<std::byte> read(const ZipEntry& entry,
                              std::uint64_t most_bytes) const;

  /// Checks the CRC of a stored entry in place, piece by piece. Where the pages
  /// of a piece are released before the next, checking a large entry takes
  /// little memory. std::invalid_argument for a deflated one.
  void check_crc(const ZipEntry& entry,
                 PagesRead pages = PagesRead::released) const;

 private:
  std::shared_ptr<const MappedFile> file_;
  std::vector<ZipEntry> entries_;
};

}  // namespace llamlx
