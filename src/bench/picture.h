#pragma once

#include <string>

#include "bench/bench.h"

namespace llamlx {

/// A report as a picture, an SVG document: every test's share of what the
/// machine allows, the tests under the machine's roof (operations a byte, and
/// operations a second), and processors, memory and the GPU over the time of
/// the benchmark. Where no limits were measured, or no activity, these are left
/// out. The report has results.
std::string draw_picture(const BenchReport& report);

}  // namespace llamlx
