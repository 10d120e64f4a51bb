#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace llamlx {

/// The CRC-32 of zip archives: of `bytes` following others whose CRC is `crc`,
/// which is 0 when there are none. At the speed of memory, where zlib's takes
/// longer than a disk.
std::uint32_t crc32(std::uint32_t crc, std::span<const std::byte> bytes);

}  // namespace llamlx
