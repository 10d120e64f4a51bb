#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

namespace llamlx {

/// What the control groups of this process (a container, a service) allow it.
/// An empty field is no limit. Elsewhere than on Linux every field is empty.
struct CgroupLimits {
  std::optional<double> cpus = {};  ///< processors' worth of time
  std::optional<std::uint64_t> memory_bytes = {};
  /// What is left of memory_bytes, counting cached files as free.
  std::optional<std::uint64_t> free_memory_bytes = {};
};

/// Reads the limits of this process and of every group above it; the tightest
/// count. Versions 1 and 2 are understood. `root` stands for "/" (tests use
/// another). Never throws for what the files say: what cannot be read is no
/// limit.
/// Source: Linux, Documentation/admin-guide/cgroup-v2.rst and cgroup-v1/.
CgroupLimits cgroup_limits(const std::filesystem::path& root = "/");

}  // namespace llamlx
