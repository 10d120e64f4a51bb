#include "base/cpu_count.h"

#include <algorithm>
#include <cmath>
#include <memory>

#include <sched.h>
#include <unistd.h>

#include "base/cgroup.h"

namespace llamlx {
namespace {

#if defined(__linux__)

int allowed_cpus(int otherwise) {
  // Machines with more than CPU_SETSIZE (1024) processors refuse a small mask.
  for (int size = CPU_SETSIZE; size <= 1 << 20; size *= 2) {
    const std::unique_ptr<cpu_set_t, void (*)(cpu_set_t*)> mask(
        CPU_ALLOC(size), [](cpu_set_t* set) { CPU_FREE(set); });
    const auto bytes = CPU_ALLOC_SIZE(size);
    if (mask && ::sched_getaffinity(0, bytes, mask.get()) == 0) {
      return CPU_COUNT_S(bytes, mask.get());
    }
  }
  return otherwise;
}

#else

int allowed_cpus(int otherwise) { return otherwise; }

#endif

}  // namespace

CpuCount cpu_count() {
  CpuCount count;
  count.online = std::max(1, static_cast<int>(::sysconf(_SC_NPROCESSORS_ONLN)));
  count.allowed = std::max(1, allowed_cpus(count.online));
  count.usable = count.allowed;
  if (const auto quota = cgroup_limits().cpus) {
    count.quota = *quota;
    count.usable =
        std::clamp(static_cast<int>(std::ceil(*quota)), 1, count.allowed);
  }
  return count;
}

}  // namespace llamlx
