#pragma once

#include <chrono>
#include <string>

#include "llamlx/llamlx.h"
#include "terminal.h"

namespace llamlx {

/// How progress is told on standard error: as a bar on a terminal and not at
/// all elsewhere, as lines of JSON for programs, or never.
enum class ProgressKind { automatic, json, none };

/// Tells of a conversion's Progress.
///
/// As JSON each line is one object: "tensor", "done_bytes", "total_bytes",
/// "bytes_per_second", "seconds_left" (null before anything is done). The first
/// and the last state are always told, those between ten times a second.
class ProgressTeller {
 public:
  ProgressTeller(std::string label, ProgressKind kind);

  void update(const Progress& progress);

 private:
  using Clock = std::chrono::steady_clock;

  void tell_json(const Progress& progress);

  ProgressKind kind_;
  ProgressBar bar_;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_told_ = {};
};

}  // namespace llamlx
