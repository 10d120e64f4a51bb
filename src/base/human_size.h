#pragma once

#include <cstdint>
#include <string>

namespace llamlx {

/// A number of bytes as people read it, in powers of ten: "512 B", "96.3 MB",
/// "1.21 GB". Three significant digits.
std::string human_size(std::uint64_t bytes);

/// A number of things in three significant digits: "576", "135 M", "1.24 B".
std::string human_count(std::int64_t count);

}  // namespace llamlx
