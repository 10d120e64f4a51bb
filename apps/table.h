#pragma once

#include <string>
#include <vector>

namespace llamlx {

/// The rows of `table` in columns two spaces apart, a line each: labels to the
/// left, the other cells to the right. Rows may be short. Cells are UTF-8, and
/// are taken to be a column a character; what would steer a terminal is
/// replaced (printable()).
std::string format_table(const std::vector<std::vector<std::string>>& table);

}  // namespace llamlx
