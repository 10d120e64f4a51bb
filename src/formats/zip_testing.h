#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include <zlib.h>

#include "formats/zip_layout.h"

// Zip archives made by hand, for tests. Only *_test.cpp files include this.
namespace llamlx::testing {

// Where fields are in a local header, a directory's entry and the end record.
inline constexpr std::size_t kLocalFlags = 6;
inline constexpr std::size_t kLocalMethod = 8;
inline constexpr std::size_t kLocalCrc = 14;
inline constexpr std::size_t kLocalCompressed = 18;
inline constexpr std::size_t kLocalSize = 22;
inline constexpr std::size_t kLocalName = 30;
inline constexpr std::size_t kFlags = 8;
inline constexpr std::size_t kMethod = 10;
inline constexpr std::size_t kCrc = 16;
inline constexpr std::size_t kCompressed = 20;
inline constexpr std::size_t kSize = 24;
inline constexpr std::size_t kDisk = 34;
inline constexpr std::size_t kOffset = 42;

/// `value` in `size` bytes, little end first.
inline std::string little(std::uint64_t value, int size) {
  std::string bytes;
  for (int i = 0; i < size; ++i) {
    bytes += static_cast<char>(value >> (8 * i) & 0xff);
  }
  return bytes;
}

/// `bytes` with `value` in the `size` bytes at `at`.
inline std::string patched(std::string bytes, std::size_t at,
                           std::uint64_t value, int size) {
  return bytes.replace(at, static_cast<std::size_t>(size), little(value, size));
}

inline std::uint32_t crc_of(std::string_view bytes) {
  return static_cast<std::uint32_t>(
      crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
}

inline std::string deflated(std::string_view bytes) {
  z_stream stream = {};
  deflateInit2(&stream, 9, Z_DEFLATED, -MAX_WBITS, 8, Z_DEFAULT_STRATEGY);
  std::string out(deflateBound(&stream, static_cast<uLong>(bytes.size())), 0);
  std::string in(bytes);
  stream.next_in = reinterpret_cast<Bytef*>(in.data());
  stream.avail_in = static_cast<uInt>(in.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  deflate(&stream, Z_FINISH);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

/// An entry of an archive. What is empty or 0 is as it should be.
struct ZipPart {
  std::string name;
  std::string bytes;
  bool is_deflated = false;
  bool has_descriptor = false;  ///< sizes and CRC after the data
  bool is_zip64 = false;        ///< numbers of 64 bits in both headers
};

/// The archive of `parts`; with a zip64 end record when `is_zip64`.
inline std::string zip_of(const std::vector<ZipPart>& parts,
                          bool is_zip64 = false) {
  std::string archive;
  std::string directory;
  for (const auto& part : parts) {
    const auto data = part.is_deflated ? deflated(part.bytes) : part.bytes;
    const auto sizes64 = little(part.bytes.size(), 8) + little(data.size(), 8);
    const auto offset = archive.size();
    const auto common = [&](bool is_local) {
      const bool later = is_local && part.has_descriptor;
      const auto small = [&](std::uint64_t value) {
        return little(part.is_zip64 ? zip::kMost32 : later ? 0 : value, 4);
      };
      return little(45, 2) + little(part.has_descriptor ? 8 : 0, 2) +
             little(part.is_deflated ? 8 : 0, 2) + little(0x210000, 4) +
             little(later ? 0 : crc_of(part.bytes), 4) + small(data.size()) +
             small(part.bytes.size()) + little(part.name.size(), 2);
    };
    const auto extra = little(1, 2) + little(16, 2) +
                       (part.has_descriptor ? std::string(16, '\0') : sizes64);
    const auto central_extra =
        little(1, 2) + little(24, 2) + sizes64 + little(offset, 8);
    archive += "PK\3\4" + common(true) +
               little(part.is_zip64 ? extra.size() : 0, 2) + part.name +
               (part.is_zip64 ? extra : "") + data;
    if (part.has_descriptor) {
      const int size = part.is_zip64 ? 8 : 4;
      archive += "PK\7\10" + little(crc_of(part.bytes), 4) +
                 little(data.size(), size) + little(part.bytes.size(), size);
    }
    directory += "PK\1\2" + little(45, 2) + common(false) +
                 little(part.is_zip64 ? central_extra.size() : 0, 2) +
                 std::string(10, '\0') +
                 little(part.is_zip64 ? zip::kMost32 : offset, 4) + part.name +
                 (part.is_zip64 ? central_extra : "");
  }
  const auto begin = archive.size();
  archive += directory;
  const auto end = archive.size();
  if (is_zip64) {
    const auto count = little(parts.size(), 8);
    archive += "PK\6\6" + little(44, 8) + little(45, 2) + little(45, 2) +
               std::string(8, '\0') + count + count +
               little(directory.size(), 8) + little(begin, 8);
    archive += "PK\6\7" + little(0, 4) + little(end, 8) + little(1, 4);
  }
  const auto count = little(is_zip64 ? 0xffff : parts.size(), 2);
  return archive + "PK\5\6" + std::string(4, '\0') + count + count +
         little(is_zip64 ? zip::kMost32 : directory.size(), 4) +
         little(is_zip64 ? zip::kMost32 : begin, 4) + little(0, 2);
}

/// Two entries of the two kinds.
inline std::vector<ZipPart> small_parts() {
  return {{"stored", "the bytes themselves"},
          {"deflated", std::string(500, 'x') + "y", true}};
}

}  // namespace llamlx::testing
