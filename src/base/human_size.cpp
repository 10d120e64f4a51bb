#include "base/human_size.h"

#include <cstdio>

namespace llamlx {

std::string human_size(std::uint64_t bytes) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB", "PB", "EB"};
  auto value = static_cast<double>(bytes);
  int unit = 0;
  // 999.5 would be rounded to four digits.
  while (value >= 999.5) {
    value /= 1000;
    ++unit;
  }
  const int decimals = unit == 0 || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2;
  char text[32];
  std::snprintf(text, sizeof(text), "%.*f %s", decimals, value, kUnits[unit]);
  return text;
}

std::string human_count(std::int64_t count) {
  constexpr const char* kUnits[] = {"", " k", " M", " B", " T"};
  auto value = static_cast<double>(count);
  int unit = 0;
  while (value >= 999.5 && unit < 4) {
    value /= 1000;
    ++unit;
  }
  char text[32];
  std::snprintf(text, sizeof(text), "%.3g%s", value, kUnits[unit]);
  return text;
}

}  // namespace llamlx
