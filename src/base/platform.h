#pragma once

#include <string>

namespace llamlx {

/// The operating system's name and version, e.g. "Debian GNU/Linux 12
/// (bookworm), kernel 6.1.0" or "macOS 14.3".
std::string os_name();

/// The architecture this program was built for: "x86_64", "arm64" or another's
/// name.
std::string program_architecture();

}  // namespace llamlx
