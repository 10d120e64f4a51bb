#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/utf8.h"

namespace llamlx {

/// Standard output was closed by its reader (`llamlx info model | head -1`):
/// there is no one left to tell, so the program ends quietly.
struct ClosedOutput {};

/// Writes `text` to standard output at once. Errors: ClosedOutput; Error
/// (no_space, io_error) when it cannot be written for another reason.
void print(std::string_view text);

/// Writes `text` and a line break to standard error; what cannot be written is
/// lost.
void print_note(std::string_view text);

/// Writes `text` as it is to standard error, as print_note() does.
void print_screen(std::string_view text);

/// True when the file descriptor is a screen with someone in front of it.
bool is_terminal(int fd);

/// True when standard output is a terminal that shows colours and NO_COLOR
/// (no-color.org) is not set.
bool has_colour();

/// True when the locale's characters are UTF-8.
bool is_utf8_locale();

enum class Colour { green, yellow, red, bold, dim };

/// `text` in a colour where has_colour(), else as it is.
std::string coloured(Colour colour, std::string_view text);

/// "850 ms", "4.2 s", "3 min 20 s", "1 h 05 min".
std::string human_duration(double seconds);

/// A bar on standard error that shows how far something has come, its rate and
/// the time left. It appears on terminals only, after the first second.
///
/// Example:
///     ProgressBar bar("Saving");
///     bar.update(done_bytes, total_bytes);
class ProgressBar {
 public:
  explicit ProgressBar(std::string label);
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  /// Clears the bar's line.
  ~ProgressBar();

  void update(std::uint64_t done_bytes, std::uint64_t total_bytes);

  /// For work that is not counted in bytes: `share` of it is done, 0 to 1.
  void update(std::string_view label, double share);

 private:
  using Clock = std::chrono::steady_clock;

  /// Whether to draw now.
  bool is_due();
  void draw(std::string_view line);

  std::string label_;
  bool enabled_;
  bool shown_ = false;
  Clock::time_point start_ = Clock::now();
  Clock::time_point last_drawn_ = {};
};

/// The line ProgressBar draws, `columns` wide at most.
std::string progress_line(std::string_view label, std::uint64_t done_bytes,
                          std::uint64_t total_bytes, double seconds,
                          int columns);

/// The line it draws for a share: what is done, and the time left.
std::string share_line(std::string_view label, double share, double seconds,
                       int columns);

}  // namespace llamlx
