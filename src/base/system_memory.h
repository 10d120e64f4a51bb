#pragma once

#include <cstdint>

namespace llamlx {

/// The memory this process may use. In a container with a limit of its own both
/// fields tell of the container.
struct SystemMemory {
  std::uint64_t total_bytes = 0;      ///< 0: the system does not say
  std::uint64_t available_bytes = 0;  ///< without swapping anything out
};

SystemMemory system_memory();

/// The most memory this program has held at one time so far; 0 when the system
/// does not say. Mapped files count as far as they were read and not released.
std::uint64_t peak_memory_bytes();

/// Lets peak_memory_bytes() begin anew, where the system can; says whether.
bool reset_peak_memory();

/// What this program holds in memory now; 0 when the system does not say.
std::uint64_t resident_memory_bytes();

}  // namespace llamlx
