#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "terminal.h"

namespace llamlx {

/// How progress is told on standard error: as a bar on a terminal and not at
/// all elsewhere, as lines of JSON for programs, or never.
enum class ProgressKind { automatic, json, none };

/// Tells how far a conversion has come.
///
/// As JSON each line is one object: "tensor", "done_bytes", "total_bytes",
/// "bytes_per_second", "seconds_left" (null before anything is done). The first
/// and the last state are always told, those between ten times a second.
class Progress {
 public:
  Progress(std::string label, ProgressKind kind);

  void update(std::string_view tensor, std::uint64_t done_bytes,
              std::uint64_t total_bytes);

 private:
  using Clock = std::chrono::steady_clock;

  void tell_json(std::string_view tensor, std::uint64_t done_bytes,
                 std::uint64_t total_bytes);

  ProgressKind kind_;
  ProgressBar bar_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_told_ = {};
};

}  // namespace llamlx
