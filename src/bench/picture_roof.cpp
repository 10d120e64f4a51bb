#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>

#include "base/concat.h"
#include "base/human_size.h"
#include "bench/picture_parts.h"

namespace llamlx {
namespace {

constexpr double kLeft = kPictureMargin + 52, kLabels = 226;
constexpr double kRadius = 9;  // of a numbered point
constexpr double kHop = 20;

/// What the roof is made of, of the GPU or of the largest number of threads.
struct Roof {
  int threads = 0;
  ComputePeak peak;                     ///< what the model may reach
  std::map<std::string, double> other;  ///< units, Gop/s
  double fastest = 0, slowest = 0;      ///< reading, GB/s
  double fastest_bytes = 0, slowest_bytes = 0;

  void add_reading(double bytes, double speed) {
    if (speed > fastest) {
      fastest = speed;
      fastest_bytes = bytes;
    }
    if (slowest == 0 || speed < slowest) {
      slowest = speed;
      slowest_bytes = bytes;
    }
  }
  void add_unit(std::string_view type, double speed) {
    auto& best = other[std::string(type)];
    best = std::max(best, speed);
  }
};

void add_gpu(const GpuLimits& gpu, Roof& roof) {
  for (const auto& found : gpu.bandwidths) {
    roof.add_reading(static_cast<double>(found.bytes), found.best_gb_per_s);
  }
  for (const auto& peak : gpu.peaks) {
    roof.add_unit(peak.type, peak.best_gop_per_s);
  }
}

void add_cpu(const MachineLimits& machine, Roof& roof) {
  for (const auto& found : machine.bandwidths) {
    const auto bytes = static_cast<double>(found.bytes);
    if (found.threads != roof.threads) continue;
    roof.add_reading(bytes, best_bandwidth(machine, bytes, found.threads));
  }
  for (const auto& peak : machine.peaks) {
    if (peak.threads != roof.threads || peak.isa == Isa::scalar) continue;
    roof.add_unit(peak.type, peak.best_gop_per_s);
  }
}

Roof roof_of(const BenchReport& report) {
  Roof roof;
  for (const auto& result : report.results) {
    roof.threads = std::max(roof.threads, result.test.threads);
  }
  for (const auto& result : report.results) {
    if (result.test.threads != roof.threads) continue;
    if (result.peak.gflop_per_s > roof.peak.gflop_per_s) {
      roof.peak = result.peak;
    }
  }
  if (report.machine.gpu) {
    add_gpu(*report.machine.gpu, roof);
  } else {
    add_cpu(report.machine, roof);
  }
  return roof;
}

double intensity(const BenchResult& result) {
  return result.per_token.flops / result.per_token.bytes;
}

/// Both axes reach beyond what is drawn, to powers of ten.
void set_ranges(const BenchReport& report, const Roof& roof, Axis& x, Axis& y) {
  double most = roof.peak.gflop_per_s, least = most;
  for (const auto& [type, speed] : roof.other) most = std::max(most, speed);
  x.low = 1;
  x.high = roof.peak.gflop_per_s / roof.slowest;  // where the roof bends
  for (const auto& result : report.results) {
    least = std::min(least, result.gflop_per_s());
    x.low = std::min(x.low, intensity(result));
    x.high = std::max(x.high, intensity(result));
  }
  x.low = power_below(x.low / 2);
  x.high = power_above(x.high * 2);
  y.low = power_below(std::min(least, x.low * roof.slowest * 2) / 1.5);
  y.high = power_above(most * 1.2);
}

/// The line y = speed * x, as far as it is below `top`.
void draw_slope(Svg& svg, const Axis& x, const Axis& y, double speed,
                double top, double bytes, bool above) {
  const double begin = std::max(x.low, y.low / speed);
  const double end = std::min(x.high, top / speed);
  const Svg::Point from = {x.place(begin), y.place(speed * begin)};
  const Svg::Point to = {x.place(end), y.place(speed * end)};
  svg.line(from, to,
           {.colour = kInk,
            .width = above ? 2.0 : 1.2,
            .dashes = above ? "" : "6 4"});
  const double turn =
      std::atan2(to.second - from.second, to.first - from.first) * 180 /
      std::numbers::pi;
  const double share = above ? 0.30 : 0.34;
  const double lift = above ? -7 : 15;
  const double angle = turn * std::numbers::pi / 180;
  svg.text(
      from.first + share * (to.first - from.first) - lift * std::sin(angle),
      from.second + share * (to.second - from.second) + lift * std::cos(angle),
      concat("reading ", human_size(static_cast<std::uint64_t>(bytes)), ": ",
             std::lround(speed), " GB/s"),
      {.size = 11, .colour = kInk, .turn = turn});
}

/// Lines of units, with labels to the right of the frame.
void draw_units(Svg& svg, const Frame& frame, const Axis& x, const Axis& y,
                const Roof& roof) {
  struct Label {
    double place;
    std::string text;
    bool is_roof;
  };
  std::vector<Label> labels;
  const auto add = [&](double speed, const std::string& text, bool is_roof) {
    const double place = y.place(speed);
    const double begin = is_roof ? x.place(speed / roof.fastest) : frame.x;
    svg.line({begin, place}, {frame.right(), place},
             {.colour = is_roof ? kInk : "#9aa5b1",
              .width = is_roof ? 2.0 : 1.0,
              .dashes = is_roof ? "" : "2 3"});
    labels.push_back({place, text, is_roof});
  };
  for (const auto& [type, speed] : roof.other) {
    const bool same = std::abs(speed - roof.peak.gflop_per_s) < 0.01 * speed;
    if (!same)
      add(speed, concat(type, ": ", std::lround(speed), " Gop/s"), false);
  }
  const auto type = roof.peak.unit.substr(roof.peak.unit.rfind(' ') + 1);
  const auto parts = roof.peak.parts == 1 ? "" : concat(" / ", roof.peak.parts);
  add(roof.peak.gflop_per_s,
      concat("roof, ", type, parts, ": ", std::lround(roof.peak.gflop_per_s),
             " GFLOP/s"),
      true);
  std::ranges::sort(labels, {}, &Label::place);
  std::vector<double> places;
  for (const auto& label : labels) places.push_back(label.place);
  places = spread_labels(places, 15, frame.y, frame.bottom());
  for (std::size_t i = 0; i < labels.size(); ++i) {
    svg.line({frame.right(), labels[i].place}, {frame.right() + 12, places[i]},
             {.colour = "#9aa5b1"});
    svg.text(frame.right() + 16, places[i] + 4, labels[i].text,
             {.size = 11,
              .colour = labels[i].is_roof ? kInk : kFaint,
              .bold = labels[i].is_roof});
  }
}

struct Mark {
  Svg::Point exact, place;
  std::string_view colour;
};

/// Numbered points, those that would cover others moved up or down.
std::vector<Mark> place_marks(const Frame& frame, const Axis& x, const Axis& y,
                              const BenchReport& report) {
  constexpr int kMostSteps = 40;
  std::vector<Mark> marks;
  const auto is_free = [&](Svg::Point place) {
    return std::ranges::none_of(marks, [&](const auto& other) {
      return std::hypot(other.place.first - place.first,
                        other.place.second - place.second) < 2 * kRadius + 1;
    });
  };
  for (const auto& result : report.results) {
    const Svg::Point exact = {x.place(intensity(result)),
                              y.place(result.gflop_per_s())};
    auto place = exact;
    for (int step = 1; !is_free(place) && step < kMostSteps; ++step) {
      const int hops = (step % 2 == 1 ? -1 : 1) * ((step + 1) / 2);
      const double away = kHop * hops;
      place.second = std::clamp(exact.second + away, frame.y + kRadius,
                                frame.bottom() - kRadius);
    }
    marks.push_back({exact, place, colours_of(phase_of(result.test)).line});
  }
  return marks;
}

void draw_points(Svg& svg, const Frame& frame, const Axis& x, const Axis& y,
                 const BenchReport& report) {
  const auto marks = place_marks(frame, x, y, report);
  for (const auto& [exact, place, colour] : marks) {
    if (place == exact) continue;
    svg.line(exact, place, {.colour = colour, .width = 1});
    svg.circle(exact, 3, colour);
  }
  for (std::size_t i = 0; i < marks.size(); ++i) {
    const auto& place = marks[i].place;
    svg.circle(place, kRadius, marks[i].colour);
    svg.text(place.first, place.second + 4, std::to_string(i + 1),
             {.size = 11,
              .colour = "#ffffff",
              .anchor = Svg::Anchor::middle,
              .bold = true});
  }
}

void draw_legend(Svg& svg, const Frame& frame) {
  double y = frame.bottom() - 30;
  for (const auto& [phase, text] : {std::pair{Phase::prompt, "prompts"},
                                    std::pair{Phase::generate, "answers"}}) {
    svg.circle({frame.right() + 24, y}, 6, colours_of(phase).line);
    svg.text(frame.right() + 36, y + 4, text, {.size = 12});
    y += 20;
  }
}

}  // namespace

double draw_roof(Svg& svg, double top, const BenchReport& report) {
  const auto roof = roof_of(report);
  draw_title(svg, top, "The tests under this machine's roof",
             concat("Arithmetic a second, by arithmetic a byte moved. The roof "
                    "is that of ",
                    report.machine.gpu  ? std::string("the GPU")
                    : roof.threads == 1 ? std::string("1 thread")
                                        : concat(roof.threads, " threads"),
                    "; numbers are those above."));
  const Frame frame{kLeft, top + 52, kPictureWidth - kLeft - kLabels,
                    kRoofHeight - 52 - 76};
  Axis x{.from = frame.x, .to = frame.right(), .logarithmic = true};
  Axis y{.from = frame.bottom(), .to = frame.y, .logarithmic = true};
  set_ranges(report, roof, x, y);
  draw_y_ticks(svg, frame, y, log_ticks(y.low, y.high, 8));
  draw_x_ticks(svg, frame, x, log_ticks(x.low, x.high, 10));
  svg.text(kPictureMargin + 4, frame.y + frame.height / 2, "GFLOP/s",
           {.size = 12,
            .colour = kFaint,
            .anchor = Svg::Anchor::middle,
            .turn = -90});
  svg.text(frame.x + frame.width / 2, frame.bottom() + 36, "FLOP / byte",
           {.size = 12, .colour = kFaint, .anchor = Svg::Anchor::middle});
  draw_units(svg, frame, x, y, roof);
  draw_slope(svg, x, y, roof.fastest, roof.peak.gflop_per_s, roof.fastest_bytes,
             true);
  if (roof.slowest < 0.8 * roof.fastest) {
    draw_slope(svg, x, y, roof.slowest, roof.peak.gflop_per_s,
               roof.slowest_bytes, false);
  }
  draw_points(svg, frame, x, y, report);
  draw_legend(svg, frame);
  return top + kRoofHeight;
}

}  // namespace llamlx
