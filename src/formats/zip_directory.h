#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/mapped_file.h"

namespace llamlx {

/// What the directory of a zip archive says of one entry.
struct ZipEntry {
  std::string name;
  std::uint64_t size;             ///< of its bytes
  std::uint64_t compressed_size;  ///< of what the archive holds of them
  std::uint32_t crc;              ///< CRC-32 of its bytes
  bool is_stored;                 ///< as they are; otherwise deflated
  std::uint64_t data_begin;       ///< where in the archive they begin
};

/// The entries of the archive `file`, sorted by name; all that can be known
/// without reading the entries themselves is checked.
///
/// Layout   entry after entry: a local header, the entry's data, possibly a
///          descriptor of it; then the directory: for every entry its header
///          again, with the place of the first; then the end record, which says
///          where the directory is. Zip64 adds a second end record with numbers
///          of 64 bits before the first, and such numbers to the headers.
/// Checks   the end record ends the file, and the directory ends where it
///          begins, with as many entries as it says and nothing else; every
///          local header says what the directory says; local headers and data
///          lie before the directory and overlap nothing; names occur once;
///          sizes are possible. So a file cut short anywhere is told at once,
///          and no archive says more than its own length allows.
/// Errors   Error naming the file and the entry: corrupt_file; unsupported for
///          encrypted entries, other methods than stored and deflated, and
///          archives in several parts.
/// Source   https://pkware.cachefly.net/webdocs/casestudies/APPNOTE.TXT, 4.3
std::vector<ZipEntry> read_zip_directory(const MappedFile& file);

}  // namespace llamlx
