#pragma once

#include <sstream>
#include <string>

namespace llamlx {

/// Writes the parts one after another, as operator<< would. (libstdc++ 12 has
/// no <format>.)
template <typename... Parts>
std::string concat(const Parts&... parts) {
  std::ostringstream out;
  (out << ... << parts);
  return std::move(out).str();
}

}  // namespace llamlx
