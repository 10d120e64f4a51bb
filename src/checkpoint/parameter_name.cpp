#include "checkpoint/parameter_name.h"

#include <charconv>
#include <string>

namespace llamlx {
namespace {

/// Reads "12." off the front of `rest`.
std::optional<int> take_layer(std::string_view& rest) {
  const auto dot = rest.find('.');
  if (dot == std::string_view::npos) return {};
  const auto digits = rest.substr(0, dot);
  int layer = 0;
  const auto end = digits.data() + digits.size();
  const auto read = std::from_chars(digits.data(), end, layer);
  if (read.ec != std::errc() || layer < 0) return {};
  if (std::to_string(layer) != digits) return {};
  rest.remove_prefix(dot + 1);
  return layer;
}

}  // namespace

std::optional<ParameterName> parse_parameter_name(std::string_view name,
                                                  std::string_view layers) {
  const auto dot = name.rfind('.');
  if (dot == std::string_view::npos) return {};
  ParameterName result{{}, name.substr(0, dot), name.substr(dot)};
  if (!result.module.starts_with(layers)) return result;
  result.module.remove_prefix(layers.size());
  result.layer = take_layer(result.module);
  if (!result.layer) return {};
  return result;
}

}  // namespace llamlx
