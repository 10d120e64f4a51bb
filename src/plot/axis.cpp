#include "plot/axis.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "base/concat.h"

namespace llamlx {
namespace {

constexpr std::string_view kGrid = "#e4e7eb";
constexpr std::string_view kTickText = "#52606d";
constexpr double kTickSize = 11;
/// What is lost where 0.1 is added up ten times.
constexpr double kRounding = 1e-9;

}  // namespace

double Axis::place(double value) const {
  const auto scale = [&](double v) { return logarithmic ? std::log10(v) : v; };
  const double inside = std::clamp(value, low, high);
  const double share =
      (scale(inside) - scale(low)) / (scale(high) - scale(low));
  return from + share * (to - from);
}

std::vector<double> linear_ticks(double low, double high, int count) {
  const double rough = (high - low) / std::max(count, 1);
  if (!(rough > 0) || !std::isfinite(rough)) return {low};
  const double power = power_below(rough);
  double step = 10 * power;
  for (const double factor : {5, 2, 1}) {
    if (factor * power >= rough * (1 - kRounding)) step = factor * power;
  }
  std::vector<double> ticks;
  const auto first = std::ceil(low / step - kRounding);
  const auto last = std::floor(high / step + kRounding);
  for (double i = first; i <= last; ++i)
    ticks.push_back(i * step + 0.0);  // no -0
  return ticks;
}

std::vector<double> log_ticks(double low, double high, int most) {
  std::vector<double> ticks;
  const auto first = std::lround(std::log10(power_below(low)));
  const auto last = std::lround(std::log10(power_above(high)));
  const auto step = std::max(1L, (last - first + most) / std::max(most, 1));
  const bool is_short = last - first < 3;
  for (long power = first; power <= last; power += step) {
    for (const double factor : {1, 2, 5}) {
      const double tick = factor * std::pow(10.0, double(power));
      const bool inside =
          tick >= low * (1 - kRounding) && tick <= high * (1 + kRounding);
      if (inside && (factor == 1 || is_short)) ticks.push_back(tick);
    }
  }
  return ticks;
}

double power_below(double value) {
  return std::pow(10.0, std::floor(std::log10(value) + kRounding));
}

double power_above(double value) {
  return std::pow(10.0, std::ceil(std::log10(value) - kRounding));
}

std::string tick_label(double value) {
  constexpr const char* kUnits[] = {"", " k", " M", " G", " T"};
  std::size_t unit = 0;
  while (std::abs(value) >= 1e4 * (1 - kRounding) && unit + 1 < 5) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.4g%s", value, kUnits[unit]);
  return text;
}

void draw_y_ticks(Svg& svg, const Frame& frame, const Axis& axis,
                  const std::vector<double>& ticks, const std::string& suffix) {
  for (const double tick : ticks) {
    const double y = axis.place(tick);
    svg.line({frame.x, y}, {frame.right(), y}, {.colour = kGrid});
    svg.text(
        frame.x - 6, y + 4, tick_label(tick) + suffix,
        {.size = kTickSize, .colour = kTickText, .anchor = Svg::Anchor::end});
  }
}

void draw_x_ticks(Svg& svg, const Frame& frame, const Axis& axis,
                  const std::vector<double>& ticks, const std::string& suffix) {
  for (const double tick : ticks) {
    const double x = axis.place(tick);
    svg.line({x, frame.y}, {x, frame.bottom()}, {.colour = kGrid});
    svg.text(x, frame.bottom() + 16, tick_label(tick) + suffix,
             {.size = kTickSize,
              .colour = kTickText,
              .anchor = Svg::Anchor::middle});
  }
}

std::vector<double> spread_labels(std::vector<double> wanted, double distance,
                                  double low, double high) {
  for (std::size_t i = 0; i < wanted.size(); ++i) {
    const double least = i == 0 ? low : wanted[i - 1] + distance;
    wanted[i] = std::max(wanted[i], least);
  }
  double most = high;
  for (auto place = wanted.rbegin(); place != wanted.rend(); ++place) {
    *place = std::min(*place, most);
    most = *place - distance;
  }
  return wanted;
}

}  // namespace llamlx
