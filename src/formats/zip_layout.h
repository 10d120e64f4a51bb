#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <string_view>

// What the records of zip archives begin with and how long their fixed parts
// are: read_zip_directory() says what they are for.
namespace llamlx::zip {

static_assert(std::endian::native == std::endian::little,
              "the numbers of zip archives are little-endian");

inline constexpr std::string_view kLocalSignature = "PK\3\4";
inline constexpr std::string_view kHeaderSignature = "PK\1\2";  // directory's
inline constexpr std::string_view kEndSignature = "PK\5\6";
inline constexpr std::string_view kEnd64Signature = "PK\6\6";
inline constexpr std::string_view kLocatorSignature = "PK\6\7";

inline constexpr std::uint64_t kLocalSize = 30;
inline constexpr std::uint64_t kHeaderSize = 46;
inline constexpr std::uint64_t kEndSize = 22;
inline constexpr std::uint64_t kEnd64Size = 56;
inline constexpr std::uint64_t kLocatorSize = 20;

inline constexpr std::uint64_t kStored = 0;
inline constexpr std::uint64_t kDeflated = 8;
inline constexpr std::uint64_t kZip64Extra = 1;

// A field with all bits set says: see the zip64 one.
inline constexpr std::uint64_t kMost16 =
    std::numeric_limits<std::uint16_t>::max();
inline constexpr std::uint64_t kMost32 =
    std::numeric_limits<std::uint32_t>::max();

/// The number in `size` bytes at `at`, which must lie in `text`.
inline std::uint64_t number(std::string_view text, std::uint64_t at,
                            std::size_t size) {
  std::uint64_t value = 0;
  std::memcpy(&value, text.data() + at, size);
  return value;
}

}  // namespace llamlx::zip
