#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llamlx {

/// The bytes that `text` stands for in base64 (RFC 4648, section 4: the
/// standard alphabet, padded, no bits left over). Empty for what is none.
std::optional<std::string> decode_base64(std::string_view text);

}  // namespace llamlx
