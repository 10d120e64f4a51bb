#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "base/mapped_file.h"
#include "formats/zip_directory.h"

namespace llamlx {

/// The bytes of an archive's entry from front to back, inflated where they are
/// deflated. Pages of the file are let go as they have been read.
///
/// Example:
///     ZipStream stream(file, entry);
///     stream.read(header);
///     stream.read(values);
///     stream.finish();
///
/// `file` and `entry` must outlive the stream. Errors: Error naming the file
/// and the entry: corrupt_file, out_of_memory.
class ZipStream {
 public:
  ZipStream(const MappedFile& file, const ZipEntry& entry);
  ZipStream(const ZipStream&) = delete;
  ZipStream& operator=(const ZipStream&) = delete;
  ~ZipStream();

  /// Fills `to`; corrupt_file when the entry ends before.
  void read(std::span<std::byte> to);

  /// corrupt_file unless the entry ends here and its CRC is right.
  void finish();

 private:
  struct Inflater;

  [[noreturn]] void refuse(std::string_view cause) const;
  void read_piece(std::span<std::byte> to);
  void inflate_piece(std::span<std::byte> to);

  const MappedFile& file_;
  const ZipEntry& entry_;
  std::span<const std::byte> rest_;  // what is still to be read in the file
  std::uint64_t position_ = 0;       // in the entry's bytes
  std::uint32_t crc_ = 0;
  std::unique_ptr<Inflater> inflater_;  // none for stored entries
};

}  // namespace llamlx
