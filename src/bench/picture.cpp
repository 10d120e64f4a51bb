#include "bench/picture.h"

#include <algorithm>

#include "bench/bench_report.h"
#include "bench/picture_parts.h"

namespace llamlx {
namespace {

constexpr double kHeadHeight = 92;

bool has_limits(const BenchReport& report) {
  return std::ranges::all_of(report.results, [](const auto& result) {
    return result.bandwidth_gb_per_s > 0 && result.peak.gflop_per_s > 0;
  });
}

}  // namespace

PhaseColours colours_of(Phase phase) {
  switch (phase) {
    case Phase::limits:
      return {"#7c5cbf", "#eee8fa"};
    case Phase::load:
      return {"#627d98", "#e4e9ef"};
    case Phase::prompt:
      return {"#1d6fd1", "#d9e9fb"};
    case Phase::generate:
      return {"#c9680b", "#fdebd2"};
  }
  return {};
}

Phase phase_of(const BenchTest& test) {
  return test.prompt > 0 ? Phase::prompt : Phase::generate;
}

void draw_title(Svg& svg, double top, std::string_view title,
                std::string_view explanation) {
  svg.text(kPictureMargin, top + 16, title, {.size = 15, .bold = true});
  svg.text(kPictureMargin, top + 34, explanation,
           {.size = 12, .colour = kFaint});
}

std::string draw_picture(const BenchReport& report) {
  const bool roof = has_limits(report);
  const bool activity = report.activity.samples.size() > 1;
  double height = kHeadHeight + speeds_height(report) + kPictureMargin;
  if (roof) height += kRoofHeight;
  if (activity) height += activity_height(report);
  Svg svg(kPictureWidth, height);
  const auto name = model_name(report);
  svg.text(kPictureMargin, 36, name, {.size = 20, .bold = true});
  svg.text(kPictureMargin, 57, model_line(report).substr(name.size() + 2),
           {.size = 13, .colour = kFaint});
  svg.text(kPictureMargin, 75, machine_line(report.machine),
           {.size = 13, .colour = kFaint});
  double top = draw_speeds(svg, kHeadHeight + 8, report);
  if (roof) top = draw_roof(svg, top, report);
  if (activity) draw_activity(svg, top, report);
  return svg.finish();
}

}  // namespace llamlx
