#include "formats/crc32.h"

#include <libdeflate.h>

namespace llamlx {

std::uint32_t crc32(std::uint32_t crc, std::span<const std::byte> bytes) {
  return libdeflate_crc32(crc, bytes.data(), bytes.size());
}

}  // namespace llamlx
