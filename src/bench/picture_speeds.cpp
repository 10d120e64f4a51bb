#include <algorithm>
#include <cstdio>

#include "base/concat.h"
#include "bench/picture_parts.h"

namespace llamlx {
namespace {

constexpr double kRow = 30, kBar = 14, kHead = 50, kFoot = 26;
// Columns, from the left: number, test, threads, bar, words.
constexpr double kNumberX = kPictureMargin + 10, kTestX = kPictureMargin + 30;
constexpr double kBarX = 300, kBarWidth = 320;

template <typename... Values>
std::string format(const char* pattern, Values... values) {
  char text[128];
  std::snprintf(text, sizeof(text), pattern, values...);
  return text;
}

std::string rate(double tokens_per_second) {
  return format("%.*f", tokens_per_second < 99.95 ? 1 : 0, tokens_per_second);
}

/// What a test is measured against: its limit, or the fastest of all tests.
double whole_of(const BenchResult& result, double fastest) {
  return result.bandwidth_gb_per_s > 0 ? result.limit_tokens_per_second()
                                       : fastest;
}

std::string words(const BenchResult& result, double whole) {
  const double reached = result.tokens_per_second.median;
  if (result.bandwidth_gb_per_s == 0) return concat(rate(reached), " tok/s");
  const double share = 100 * reached / whole;
  return concat(format("%.*f%%", share < 9.95 ? 1 : 0, share), " of ",
                rate(whole), " tok/s, the limit of ",
                result.is_memory_bound() ? "memory" : "arithmetic");
}

void draw_row(Svg& svg, double y, int number, const BenchResult& result,
              double fastest) {
  const auto& test = result.test;
  const auto& speed = result.tokens_per_second;
  const auto colour = colours_of(phase_of(test)).line;
  const double whole = whole_of(result, fastest);
  const Axis axis{
      .low = 0, .high = whole, .from = kBarX, .to = kBarX + kBarWidth};
  const double middle = y + kBar / 2;
  svg.circle({kNumberX, middle}, 9, colour);
  svg.text(kNumberX, middle + 4, std::to_string(number),
           {.size = 11,
            .colour = "#ffffff",
            .anchor = Svg::Anchor::middle,
            .bold = true});
  svg.text(kTestX, middle + 4, name_of(test), {.size = 13, .bold = true});
  svg.text(kBarX - 12, middle + 4,
           concat(test.threads, test.threads == 1 ? " thread" : " threads"),
           {.size = 12, .colour = kFaint, .anchor = Svg::Anchor::end});
  svg.rectangle(kBarX, y, kBarWidth, kBar, "#edf0f3");
  svg.rectangle(kBarX, y, axis.place(speed.median) - kBarX, kBar, colour);
  const double low = axis.place(speed.min), high = axis.place(speed.max);
  if (high - low > 1) {
    svg.line({low, middle}, {high, middle}, {.colour = kInk, .width = 2});
  }
  svg.text(
      axis.place(speed.median) + 6, middle + 4,
      result.bandwidth_gb_per_s > 0 ? concat(rate(speed.median), " tok/s") : "",
      {.size = 11, .colour = kInk});
  svg.text(kBarX + kBarWidth + 14, middle + 4, words(result, whole),
           {.size = 12});
}

}  // namespace

double speeds_height(const BenchReport& report) {
  return kHead + kRow * double(report.results.size()) + kFoot;
}

double draw_speeds(Svg& svg, double top, const BenchReport& report) {
  draw_title(svg, top, "Speed, and what this machine allows",
             "A full bar is what reading memory, or the fastest fitting "
             "unit, would allow. Black: from the slowest to the fastest "
             "repetition.");
  double fastest = 0;
  for (const auto& result : report.results) {
    fastest = std::max(fastest, result.tokens_per_second.max);
  }
  double y = top + kHead;
  int number = 0;
  for (const auto& result : report.results) {
    draw_row(svg, y, ++number, result, fastest);
    y += kRow;
  }
  return top + speeds_height(report);
}

}  // namespace llamlx
