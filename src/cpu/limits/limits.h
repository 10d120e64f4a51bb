#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/isa.h"

namespace llamlx {

/// How memory is given to the process: `huge` asks Linux for pages of 2 MiB,
/// and elsewhere, or where the system has none, is `small`.
enum class Pages { small, huge };

/// How fast this machine reads memory.
struct ReadBandwidth {
  std::size_t bytes = 0;  ///< read again and again
  int threads = 1;
  Pages pages = Pages::small;
  double best_gb_per_s = 0;
  double median_gb_per_s = 0;
};

/// How fast one kind of unit multiplies and adds, without any memory.
struct UnitPeak {
  Isa isa;                ///< whose instructions
  std::string_view type;  ///< of the factors: "float32", "bfloat16", "int8"
  int threads = 1;
  double best_gop_per_s = 0;  ///< a multiplication and an addition are two
  double median_gop_per_s = 0;
};

/// How long one figure may take; at least three passes are made.
inline constexpr double kLimitSeconds = 0.2;

/// Reads `bytes` of memory, which the threads of `pool` have each filled their
/// part of, over and over: what no program that reads as much can exceed.
///
/// `bytes` is rounded up to whole blocks for every thread. Uses the vectors of
/// active_isa(). Errors: Error (out_of_memory). Threads: one at a time, for
/// else they measure each other.
ReadBandwidth measure_read_bandwidth(std::size_t bytes, ThreadPool& pool,
                                     Pages pages,
                                     double seconds = kLimitSeconds);

/// The units of active_isa() and those before it, with all threads of `pool`
/// busy in each. Threads: as above.
std::vector<UnitPeak> measure_unit_peaks(ThreadPool& pool,
                                         double seconds = kLimitSeconds);

/// The sum that the measurement reads with, by the vectors of `isa`, or of the
/// last before it that has one: for tests.
std::uint64_t sum_words(Isa isa, const std::uint64_t* data, std::size_t words);

}  // namespace llamlx
