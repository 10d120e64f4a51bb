#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace llamlx {

/// The bytes this user may still write on the disk that holds `path`, or will
/// hold it: the nearest folder above that exists counts. Empty when the system
/// does not say.
std::optional<std::uint64_t> free_disk_bytes(const std::filesystem::path& path);

}  // namespace llamlx
