#include "progress.h"

#include <utility>

#include "base/json.h"

namespace llamlx {

ProgressTeller::ProgressTeller(std::string label, ProgressKind kind)
    : kind_(kind), bar_(std::move(label)) {}

void ProgressTeller::update(const Progress& progress) {
  if (kind_ == ProgressKind::automatic) {
    bar_.update(progress.done_bytes, progress.total_bytes);
  }
  if (kind_ == ProgressKind::json) tell_json(progress);
}

void ProgressTeller::tell_json(const Progress& progress) {
  using Seconds = std::chrono::duration<double>;
  constexpr Seconds kBetweenLines(0.1);
  const auto& [tensor, done_bytes, total_bytes] = progress;
  const auto now = Clock::now();
  const bool is_end = done_bytes == 0 || done_bytes == total_bytes;
  if (!is_end && now - last_told_ < kBetweenLines) return;
  last_told_ = now;
  const auto seconds = Seconds(now - start_).count();
  const auto done = static_cast<double>(done_bytes);
  const auto left = static_cast<double>(total_bytes - done_bytes);
  Json line = {{"tensor", tensor},
               {"done_bytes", done_bytes},
               {"total_bytes", total_bytes},
               {"bytes_per_second", seconds > 0 ? done / seconds : 0},
               {"seconds_left", nullptr}};
  if (done_bytes > 0) line["seconds_left"] = left * seconds / done;
  print_note(line.dump(-1, ' ', false, Json::error_handler_t::replace));
}

}  // namespace llamlx
