#pragma once

#include <filesystem>
#include <string_view>

#include "llamlx/llamlx.h"

namespace llamlx {

/// Throws Error with the one-line message "subject: cause; remedy". Line breaks
/// and control characters in the parts (a hostile file may name its tensors
/// anything) are replaced by '?', and very long parts are shortened.
[[noreturn]] void fail(ErrorCode code, std::string_view subject,
                       std::string_view cause, std::string_view remedy);

/// fail() for the errno of a system call that was refused: ENOENT is not_found,
/// ENOSPC, EDQUOT and EFBIG are no_space, the rest io_error. `action` is what
/// was tried, as "cannot <action>".
[[noreturn]] void fail_errno(int error_number,
                             const std::filesystem::path& file,
                             std::string_view action);

}  // namespace llamlx
