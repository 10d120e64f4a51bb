#include "base/cgroup.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {
namespace {

namespace fs = std::filesystem;

/// Version 1 writes "no limit" as the largest multiple of a page below 2^63.
constexpr std::uint64_t kNoMemoryLimit = std::uint64_t{1} << 62;

template <typename T>
std::optional<T> read_number(const fs::path& file) {
  std::ifstream in(file);
  T value{};
  if (in >> value) return value;
  return {};
}

/// The number after `key` in a file of "key number" lines.
std::optional<std::uint64_t> read_field(const fs::path& file,
                                        std::string_view key) {
  std::ifstream in(file);
  std::string name;
  std::uint64_t value = 0;
  while (in >> name >> value) {
    if (name == key) return value;
  }
  return {};
}

template <typename T>
void tighten(std::optional<T>& limit, std::optional<T> value) {
  if (value && (!limit || *value < *limit)) limit = value;
}

/// Where the kernel shows one controller's groups, and where this process is.
struct Membership {
  std::string controller;  // empty: version 2, all controllers at once
  fs::path mount;
  fs::path group;
};

std::vector<Membership> memberships(const fs::path& root) {
  std::vector<Membership> found;
  std::ifstream in(root / "proc/self/cgroup");
  for (std::string line; std::getline(in, line);) {
    const auto first = line.find(':');
    const auto second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const auto group = fs::path(line.substr(second + 1)).relative_path();
    std::stringstream names(line.substr(first + 1, second - first - 1));
    const auto mounts = root / "sys/fs/cgroup";
    if (names.str().empty()) found.push_back({"", mounts, group});
    for (std::string name; std::getline(names, name, ',');) {
      if (name == "memory" || name == "cpu") {
        found.push_back({name, mounts / name, group});
      }
    }
  }
  return found;
}

void read_cpus(const fs::path& folder, CgroupLimits& limits) {
  std::ifstream in(folder / "cpu.max");
  double quota = 0, period = 0;
  // Without a limit the first word is "max", which is no number.
  if (!(in >> quota >> period)) {
    quota = read_number<double>(folder / "cpu.cfs_quota_us").value_or(-1);
    period = read_number<double>(folder / "cpu.cfs_period_us").value_or(0);
  }
  if (quota > 0 && period > 0) {
    tighten(limits.cpus, std::optional(quota / period));
  }
}

void read_memory(const fs::path& folder, const char* limit_name,
                 const char* usage_name, const char* cached_name,
                 CgroupLimits& limits) {
  const auto limit = read_number<std::uint64_t>(folder / limit_name);
  if (!limit || *limit >= kNoMemoryLimit) return;
  tighten(limits.memory_bytes, limit);
  const auto usage = read_number<std::uint64_t>(folder / usage_name);
  if (!usage) return;
  const auto cached = read_field(folder / "memory.stat", cached_name);
  const auto held = *usage - std::min(*usage, cached.value_or(0));
  tighten(limits.free_memory_bytes,
          std::optional(*limit - std::min(*limit, held)));
}

void read_group(const Membership& member, const fs::path& folder,
                CgroupLimits& limits) {
  if (member.controller != "memory") read_cpus(folder, limits);
  if (member.controller.empty()) {
    read_memory(folder, "memory.max", "memory.current", "inactive_file",
                limits);
  } else if (member.controller == "memory") {
    read_memory(folder, "memory.limit_in_bytes", "memory.usage_in_bytes",
                "total_inactive_file", limits);
  }
}

}  // namespace

CgroupLimits cgroup_limits(const fs::path& root) {
  CgroupLimits limits;
  for (const auto& member : memberships(root)) {
    // Inside a container the path may be one of the host's that does not exist
    // here; the mount itself then shows the container's own group.
    auto group = member.group;
    while (true) {
      read_group(member, member.mount / group, limits);
      if (group.empty()) break;
      group = group.parent_path();
    }
  }
  return limits;
}

}  // namespace llamlx
