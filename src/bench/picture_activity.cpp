#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "bench/picture_parts.h"

namespace llamlx {
namespace {

constexpr double kLeft = kPictureMargin + 52;
constexpr double kNarrow = 12;  // a phase without a label
constexpr double kChart = 120, kBetween = 44;
constexpr std::string_view kCurves[] = {"#0b6e4f", "#b0413e", "#5b4b8a",
                                        "#8a5a00", "#1769aa", "#7a1f5c"};

/// A curve of so many points as can be told apart, each the mean of its time.
std::vector<Svg::Point> curve(const Activity& activity, std::size_t gauge,
                              const Axis& x, const Axis& y) {
  constexpr std::size_t kMostPoints = 800;
  const auto& samples = activity.samples;
  const auto group = (samples.size() + kMostPoints - 1) / kMostPoints;
  std::vector<Svg::Point> points;
  for (std::size_t i = 0; i < samples.size(); i += group) {
    const auto end = std::min(i + group, samples.size());
    double seconds = 0, value = 0;
    for (auto at = i; at < end; ++at) {
      seconds += samples[at].seconds;
      value += samples[at].values.at(gauge);
    }
    const auto count = static_cast<double>(end - i);
    points.emplace_back(x.place(seconds / count), y.place(value / count));
  }
  return points;
}

double largest(const Activity& activity, Gauge::Unit unit) {
  double most = 0;
  for (std::size_t gauge = 0; gauge < activity.gauges.size(); ++gauge) {
    if (activity.gauges[gauge].unit != unit) continue;
    for (const auto& sample : activity.samples) {
      most = std::max(most, sample.values.at(gauge));
    }
  }
  return most;
}

void draw_phases(Svg& svg, const Frame& frame, const Axis& x,
                 const Activity& activity, bool with_labels) {
  double free_from = frame.x;
  for (const auto& span : activity.spans) {
    const double begin = x.place(span.begin), end = x.place(span.end);
    svg.rectangle(begin, frame.y, end - begin, frame.height,
                  colours_of(span.phase).shade);
    if (end - begin > kNarrow) {
      svg.line({begin, frame.y}, {begin, frame.bottom()},
               {.colour = "#ffffff", .width = 1.5});
    }
    const double width = text_width(span.label, 11);
    const double middle = (begin + end) / 2;
    if (!with_labels || middle - width / 2 < free_from ||
        end - begin < kNarrow) {
      continue;
    }
    if (middle + width / 2 > frame.right()) continue;
    // A label may reach into another phase's space, not into its label.
    svg.text(middle, frame.y - 6, span.label,
             {.size = 11,
              .colour = colours_of(span.phase).line,
              .anchor = Svg::Anchor::middle});
    free_from = middle + width / 2 + 8;
  }
}

/// Curves of one unit, and what they are called, above them to the right.
void draw_curves(Svg& svg, const Frame& frame, const Axis& x, const Axis& y,
                 const Activity& activity, Gauge::Unit unit) {
  double right = frame.right();
  for (std::size_t i = activity.gauges.size(); i-- > 0;) {
    const auto& gauge = activity.gauges[i];
    if (gauge.unit != unit) continue;
    const auto colour = kCurves[i % std::size(kCurves)];
    svg.polyline(curve(activity, i, x, y), {.colour = colour, .width = 1.6});
    right -= text_width(gauge.name, 12);
    svg.text(right, frame.y - 24, gauge.name, {.size = 12});
    svg.line({right - 26, frame.y - 28}, {right - 6, frame.y - 28},
             {.colour = colour, .width = 3});
    right -= 44;
  }
}

void draw_phase_legend(Svg& svg, double y, const Activity& activity) {
  double x = kLeft;
  for (const auto phase :
       {Phase::load, Phase::limits, Phase::prompt, Phase::generate}) {
    const bool happened = std::ranges::any_of(
        activity.spans, [&](const auto& span) { return span.phase == phase; });
    if (!happened) continue;
    svg.rectangle(x, y - 11, 20, 14, colours_of(phase).shade);
    svg.rectangle(x, y + 1, 20, 2, colours_of(phase).line);
    svg.text(x + 26, y, to_string(phase), {.size = 12});
    x += 26 + text_width(to_string(phase), 12) + 24;
  }
}

/// A chart of the gauges of one unit.
struct Chart {
  Gauge::Unit unit;
  double high;         ///< of the axis
  double scale;        ///< by which ticks are smaller than values
  const char* suffix;  ///< of ticks
};

/// Those that there are gauges for, from above.
std::vector<Chart> charts_of(const Activity& activity) {
  // The ends of a sample are not those of its processor time: some say 103%.
  std::vector<Chart> charts = {{Gauge::Unit::percent, 100, 1, "%"}};
  const double bytes = std::max(largest(activity, Gauge::Unit::bytes), 1e6);
  const bool is_large = bytes > 2e9;
  charts.push_back({Gauge::Unit::bytes, 1.08 * bytes, is_large ? 1e9 : 1e6,
                    is_large ? " GB" : " MB"});
  const double watts = largest(activity, Gauge::Unit::watts);
  if (watts > 0) charts.push_back({Gauge::Unit::watts, 1.08 * watts, 1, " W"});
  return charts;
}

void draw_ticks(Svg& svg, const Frame& frame, const Axis& axis,
                const Chart& chart) {
  for (const double tick : linear_ticks(0, chart.high / chart.scale, 4)) {
    const double y = axis.place(tick * chart.scale);
    svg.line({frame.x, y}, {frame.right(), y}, {.colour = "#e4e7eb"});
    svg.text(frame.x - 6, y + 4, concat(tick_label(tick), chart.suffix),
             {.size = 11, .colour = kFaint, .anchor = Svg::Anchor::end});
  }
}

}  // namespace

double activity_height(const BenchReport& report) {
  const auto charts = charts_of(report.activity).size();
  return 102 + static_cast<double>(charts) * (kChart + kBetween);
}

double draw_activity(Svg& svg, double top, const BenchReport& report) {
  const auto& activity = report.activity;
  draw_title(svg, top,
             report.machine.gpu ? "Processors, GPU and memory meanwhile"
                                : "Processors and memory meanwhile",
             concat("100% is all ", report.machine.cores,
                    report.machine.cores == 1 ? " processor" : " processors",
                    " of the machine busy",
                    report.machine.gpu ? ", or the GPU all the time." : "."));
  const Axis x{.low = 0,
               .high = std::max(activity.samples.back().seconds, 0.1),
               .from = kLeft,
               .to = kPictureWidth - kPictureMargin};
  Frame frame{kLeft, top + 84, x.to - x.from, kChart};
  const auto charts = charts_of(activity);
  for (const auto& chart : charts) {
    const bool is_first = &chart == &charts.front();
    const bool is_last = &chart == &charts.back();
    const Axis y{
        .low = 0, .high = chart.high, .from = frame.bottom(), .to = frame.y};
    draw_phases(svg, frame, x, activity, is_first);
    draw_ticks(svg, frame, y, chart);
    if (is_last) draw_x_ticks(svg, frame, x, linear_ticks(0, x.high, 10), " s");
    draw_curves(svg, frame, x, y, activity, chart.unit);
    if (is_last) draw_phase_legend(svg, frame.bottom() + 44, activity);
    frame.y += kChart + kBetween;
  }
  return top + activity_height(report);
}

}  // namespace llamlx
