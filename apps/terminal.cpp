#include "terminal.h"

#include <algorithm>
#include <cerrno>
#include <clocale>
#include <cmath>
#include <cstdio>
#include <cstdlib>

#include <langinfo.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"

namespace llamlx {
namespace {

constexpr std::string_view kClearLine = "\r\x1b[K";

/// Writes everything, or returns the errno that stopped it.
int write_all(int fd, std::string_view text) {
  while (!text.empty()) {
    const auto written = ::write(fd, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return errno;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return 0;
}

int terminal_columns() {
  constexpr int kUsual = 80;
  struct winsize size {};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0) return kUsual;
  return size.ws_col > 0 ? size.ws_col : kUsual;
}

bool is_set(const char* variable) {
  const char* value = std::getenv(variable);
  return value != nullptr && *value != '\0';
}

const char* code_of(Colour colour) {
  switch (colour) {
    case Colour::green:
      return "\x1b[32m";
    case Colour::yellow:
      return "\x1b[33m";
    case Colour::red:
      return "\x1b[31m";
    case Colour::bold:
      return "\x1b[1m";
    case Colour::dim:
      return "\x1b[2m";
  }
  return "";
}

/// A label, a bar as wide as there is room for, and what it says in figures.
std::string bar_line(std::string_view label, double share,
                     std::string_view facts, int columns) {
  std::string line = concat(label, ' ');
  const int room = columns - static_cast<int>(line.size() + facts.size()) - 2;
  constexpr int kWidest = 30, kNarrowest = 5;
  if (room >= kNarrowest) {
    const int width = std::min(room, kWidest);
    const auto full = static_cast<std::size_t>(std::lround(width * share));
    line +=
        concat('[', std::string(full, '#'),
               std::string(static_cast<std::size_t>(width) - full, '.'), ']');
  }
  line += facts;
  return line.substr(0, static_cast<std::size_t>(std::max(columns, 0)));
}

}  // namespace

void print(std::string_view text) {
  const int error = write_all(STDOUT_FILENO, text);
  if (error == EPIPE) throw ClosedOutput{};
  if (error != 0) fail_errno(error, "standard output", "write");
}

void print_note(std::string_view text) { print_screen(concat(text, '\n')); }

void print_screen(std::string_view text) { write_all(STDERR_FILENO, text); }

bool is_terminal(int fd) {
  const char* kind = std::getenv("TERM");
  return ::isatty(fd) == 1 && kind != nullptr &&
         std::string_view(kind) != "dumb";
}

bool has_colour() { return is_terminal(STDOUT_FILENO) && !is_set("NO_COLOR"); }

bool is_utf8_locale() {
  // Only the character type: numbers keep their point.
  std::setlocale(LC_CTYPE, "");
  const std::string_view codeset = ::nl_langinfo(CODESET);
  return codeset == "UTF-8" || codeset == "utf8";
}

std::string coloured(Colour colour, std::string_view text) {
  if (!has_colour()) return std::string(text);
  return concat(code_of(colour), text, "\x1b[0m");
}

std::string human_duration(double seconds) {
  char text[64];
  if (seconds < 0.9995) {
    std::snprintf(text, sizeof(text), "%.0f ms", seconds * 1000);
  } else if (seconds < 9.95) {
    std::snprintf(text, sizeof(text), "%.1f s", seconds);
  } else if (seconds < 59.5) {
    std::snprintf(text, sizeof(text), "%.0f s", seconds);
  } else {
    const auto whole = std::llround(std::min(seconds, 1e12));
    if (whole < 3600) {
      std::snprintf(text, sizeof(text), "%lld min %02lld s", whole / 60,
                    whole % 60);
    } else {
      std::snprintf(text, sizeof(text), "%lld h %02lld min", whole / 3600,
                    whole % 3600 / 60);
    }
  }
  return text;
}

ProgressBar::ProgressBar(std::string label)
    : label_(std::move(label)), enabled_(is_terminal(STDERR_FILENO)) {}

ProgressBar::~ProgressBar() {
  if (shown_) write_all(STDERR_FILENO, kClearLine);
}

bool ProgressBar::is_due() {
  using std::chrono::duration;
  constexpr duration<double> kQuiet(1.0);
  constexpr duration<double> kBetweenFrames(0.1);
  const auto now = Clock::now();
  if (!enabled_ || now - start_ < kQuiet) return false;
  return !shown_ || now - last_drawn_ >= kBetweenFrames;
}

void ProgressBar::draw(std::string_view line) {
  write_all(STDERR_FILENO, concat(kClearLine, line));
  shown_ = true;
  last_drawn_ = Clock::now();
}

void ProgressBar::update(std::uint64_t done_bytes, std::uint64_t total_bytes) {
  if (!is_due()) return;
  const std::chrono::duration<double> seconds = Clock::now() - start_;
  draw(progress_line(label_, done_bytes, total_bytes, seconds.count(),
                     terminal_columns() - 1));
}

void ProgressBar::update(std::string_view label, double share) {
  if (!is_due()) return;
  const std::chrono::duration<double> seconds = Clock::now() - start_;
  draw(share_line(concat(label_, ' ', label), share, seconds.count(),
                  terminal_columns() - 1));
}

std::string progress_line(std::string_view label, std::uint64_t done_bytes,
                          std::uint64_t total_bytes, double seconds,
                          int columns) {
  const auto done = static_cast<double>(done_bytes);
  const auto total = static_cast<double>(std::max<std::uint64_t>(
      total_bytes, std::max<std::uint64_t>(done_bytes, 1)));
  const double share = done / total;
  std::string facts =
      concat(' ', std::lround(share * 100), "%  ", human_size(done_bytes),
             " of ", human_size(total_bytes));
  if (done > 0 && seconds > 0) {
    const double rate = done / seconds;
    facts += concat("  ", human_size(static_cast<std::uint64_t>(rate)), "/s  ",
                    human_duration((total - done) / rate), " left");
  }
  return bar_line(label, share, facts, columns);
}

std::string share_line(std::string_view label, double share, double seconds,
                       int columns) {
  auto facts = concat(' ', std::lround(share * 100), '%');
  if (share > 0 && seconds > 0) {
    facts +=
        concat("  ", human_duration(seconds / share * (1 - share)), " left");
  }
  return bar_line(label, share, facts, columns);
}

}  // namespace llamlx
