#include "base/system_memory.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>

#include <sys/resource.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <mach/mach.h>
#include <sys/sysctl.h>
#endif

#include "base/cgroup.h"

namespace llamlx {
namespace {

#if defined(__APPLE__)

SystemMemory machine_memory() {
  SystemMemory memory;
  std::size_t size = sizeof(memory.total_bytes);
  ::sysctlbyname("hw.memsize", &memory.total_bytes, &size, nullptr, 0);
  vm_statistics64_data_t pages{};
  mach_msg_type_number_t count = HOST_VM_INFO64_COUNT;
  const auto host = ::mach_host_self();
  if (::host_statistics64(host, HOST_VM_INFO64,
                          reinterpret_cast<host_info64_t>(&pages),
                          &count) == KERN_SUCCESS) {
    const auto free = std::uint64_t{pages.free_count} + pages.inactive_count +
                      pages.purgeable_count;
    memory.available_bytes =
        free * static_cast<std::uint64_t>(::sysconf(_SC_PAGESIZE));
  }
  return memory;
}

#else

/// The number of bytes a line "key:  123 kB" of a file in /proc tells.
std::uint64_t proc_bytes(const char* file, std::string_view key) {
  std::ifstream in(file);
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) {
      return std::strtoull(line.c_str() + key.size(), nullptr, 10) * 1024;
    }
  }
  return 0;
}

SystemMemory machine_memory() {
  return {proc_bytes("/proc/meminfo", "MemTotal:"),
          proc_bytes("/proc/meminfo", "MemAvailable:")};
}

#endif

}  // namespace

SystemMemory system_memory() {
  auto memory = machine_memory();
  const auto limits = cgroup_limits();
  if (limits.memory_bytes) {
    memory.total_bytes = std::min(memory.total_bytes, *limits.memory_bytes);
  }
  if (limits.free_memory_bytes) {
    memory.available_bytes =
        std::min(memory.available_bytes, *limits.free_memory_bytes);
  }
  return memory;
}

std::uint64_t peak_memory_bytes() {
#if !defined(__APPLE__)
  // getrusage would also count what the process held before exec.
  if (const auto peak = proc_bytes("/proc/self/status", "VmHWM:")) return peak;
  constexpr std::uint64_t kUnit = 1024;
#else
  constexpr std::uint64_t kUnit = 1;
#endif
  struct rusage usage {};
  if (::getrusage(RUSAGE_SELF, &usage) != 0) return 0;
  return static_cast<std::uint64_t>(usage.ru_maxrss) * kUnit;
}

bool reset_peak_memory() {
#if defined(__linux__)
  // Linux, Documentation/filesystems/proc.rst, "clear_refs".
  std::ofstream file("/proc/self/clear_refs");
  file << "5" << std::flush;
  return file.good();
#else
  return false;
#endif
}

std::uint64_t resident_memory_bytes() {
#if defined(__APPLE__)
  mach_task_basic_info info{};
  mach_msg_type_number_t count = MACH_TASK_BASIC_INFO_COUNT;
  const bool known =
      ::task_info(::mach_task_self(), MACH_TASK_BASIC_INFO,
                  reinterpret_cast<task_info_t>(&info), &count) == KERN_SUCCESS;
  return known ? info.resident_size : 0;
#else
  return proc_bytes("/proc/self/status", "VmRSS:");
#endif
}

}  // namespace llamlx
