#pragma once

#include <string>
#include <vector>

#include "plot/svg.h"

namespace llamlx {

/// Where values lie on a line of a drawing.
struct Axis {
  double low = 0, high = 1;  ///< values at its ends; low < high
  double from = 0, to = 1;   ///< pixels of its ends
  bool logarithmic = false;  ///< low > 0

  /// The pixel of `value`; one beyond an end lies at the end.
  double place(double value) const;
};

/// Round values (1, 2 or 5 times a power of ten apart) from low to high, about
/// `count` of them.
std::vector<double> linear_ticks(double low, double high, int count);

/// Powers of ten from low to high, where there are fewer than three also twice
/// and five times these, and where there are many every second, third, ... so
/// that no more than `most` are left.
std::vector<double> log_ticks(double low, double high, int most);

/// The first power of ten not above `value`, and the last not below. Positive.
double power_below(double value);
double power_above(double value);

/// A number beside a tick: "0.01", "250", "10 k", "2 M".
std::string tick_label(double value);

/// A box in a drawing.
struct Frame {
  double x, y, width, height;

  double right() const { return x + width; }
  double bottom() const { return y + height; }
};

/// Grey lines across `frame` at the ticks of the axis that goes up or along,
/// with their labels to the left or below.
void draw_y_ticks(Svg& svg, const Frame& frame, const Axis& axis,
                  const std::vector<double>& ticks,
                  const std::string& suffix = {});
void draw_x_ticks(Svg& svg, const Frame& frame, const Axis& axis,
                  const std::vector<double>& ticks,
                  const std::string& suffix = {});

/// Moves the sorted places `wanted` apart until none is nearer to the next than
/// `distance`, and all lie from low to high, if there is room for them.
std::vector<double> spread_labels(std::vector<double> wanted, double distance,
                                  double low, double high);

}  // namespace llamlx
