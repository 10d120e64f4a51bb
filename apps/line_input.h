#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace llamlx {

/// True when a person can be asked: standard input is a terminal, and so is
/// standard error, where questions are put, or else standard output.
bool can_ask();

/// The next line of standard input without its line break (LF or CRLF); empty
/// at the end.
std::optional<std::string> read_line();

/// As read_line(), after putting `prompt` on the screen where can_ask(). Ctrl-D
/// there leaves the cursor on a fresh line.
std::optional<std::string> ask(std::string_view prompt);

}  // namespace llamlx
