#pragma once

#include <string>
#include <string_view>

namespace llamlx {

/// GPT-2's alphabet: a visible character for each byte, so that a vocabulary of
/// texts can hold any bytes. Printable Latin-1 bytes stand for themselves, the
/// others for U+0100 and up in order.

/// The characters that stand for the bytes of `bytes`.
std::string to_byte_level(std::string_view bytes);

/// The bytes that the characters of `token` stand for; `token` itself when one
/// of them stands for none (an added token, say).
std::string from_byte_level(std::string_view token);

}  // namespace llamlx
