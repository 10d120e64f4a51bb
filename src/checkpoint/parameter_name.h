#pragma once

#include <optional>
#include <string_view>

namespace llamlx {

/// A parameter's name taken apart: "blk.3.attn_q.weight" is the part ".weight"
/// of the module "attn_q" of layer 3.
struct ParameterName {
  std::optional<int> layer;  ///< empty outside the layers
  std::string_view module;
  std::string_view part;  ///< with its dot
};

/// Takes `name` apart; `layers` is what a layer's number follows, "blk." say.
/// Empty for a name without a part, and where a layer's number should stand but
/// none does: another spelling of it ("012") would make one name of two
/// tensors.
std::optional<ParameterName> parse_parameter_name(std::string_view name,
                                                  std::string_view layers);

}  // namespace llamlx
