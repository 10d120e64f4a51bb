#pragma once

#include <string_view>

#include "bench/bench.h"
#include "plot/axis.h"

// The parts of a picture (picture.h). Each draws itself from `top` on, as wide
// as the picture, and returns where it ends.
namespace llamlx {

inline constexpr double kPictureWidth = 960;
inline constexpr double kPictureMargin = 40;

struct PhaseColours {
  std::string_view line;   ///< of bars and points
  std::string_view shade;  ///< of areas behind curves
};
PhaseColours colours_of(Phase phase);
Phase phase_of(const BenchTest& test);

inline constexpr std::string_view kInk = "#1f2933";
inline constexpr std::string_view kFaint = "#52606d";

void draw_title(Svg& svg, double top, std::string_view title,
                std::string_view explanation);

/// How tall draw_speeds() will be.
double speeds_height(const BenchReport& report);
double draw_speeds(Svg& svg, double top, const BenchReport& report);

inline constexpr double kRoofHeight = 420;
double draw_roof(Svg& svg, double top, const BenchReport& report);

/// How tall draw_activity() will be.
double activity_height(const BenchReport& report);
double draw_activity(Svg& svg, double top, const BenchReport& report);

}  // namespace llamlx
