#include "base/disk_space.h"

#include <sys/statvfs.h>

namespace llamlx {

namespace fs = std::filesystem;

std::optional<std::uint64_t> free_disk_bytes(const fs::path& path) {
  std::error_code error;
  auto place = fs::absolute(path, error);
  while (!fs::exists(place, error) && place.has_relative_path()) {
    place = place.parent_path();
  }
  struct statvfs disk {};
  if (::statvfs(place.c_str(), &disk) != 0) return {};
  return std::uint64_t{disk.f_bavail} * disk.f_frsize;
}

}  // namespace llamlx
