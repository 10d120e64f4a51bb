#pragma once

#include <vector>

namespace llamlx {

/// Of what was measured again and again.
struct Spread {
  double median = 0;  ///< the mean of the middle two of an even number
  double min = 0;
  double max = 0;

  /// (max - min) / median; 0 when the median is.
  double relative() const { return median > 0 ? (max - min) / median : 0; }
};

/// All 0 for no values at all.
Spread spread_of(std::vector<double> values);

}  // namespace llamlx
