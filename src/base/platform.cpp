#include "base/platform.h"

#include <fstream>
#include <string_view>

#include <sys/utsname.h>

#if defined(__APPLE__)
#include <sys/sysctl.h>
#endif

#include "base/concat.h"

namespace llamlx {
namespace {

#if !defined(__APPLE__)

/// PRETTY_NAME of os-release, without its quotes.
std::string distribution() {
  constexpr std::string_view kKey = "PRETTY_NAME=";
  for (const char* file : {"/etc/os-release", "/usr/lib/os-release"}) {
    std::ifstream in(file);
    for (std::string line; std::getline(in, line);) {
      if (!line.starts_with(kKey)) continue;
      auto name = line.substr(kKey.size());
      std::erase(name, '"');
      return name;
    }
  }
  return {};
}

#endif

}  // namespace

std::string os_name() {
  struct utsname system {};
  ::uname(&system);
#if defined(__APPLE__)
  char version[64] = {};
  std::size_t size = sizeof(version) - 1;
  ::sysctlbyname("kern.osproductversion", version, &size, nullptr, 0);
  return concat("macOS ", version);
#else
  const auto name = distribution();
  return concat(name.empty() ? system.sysname : name, ", kernel ",
                system.release);
#endif
}

std::string program_architecture() {
#if defined(__x86_64__)
  return "x86_64";
#elif defined(__aarch64__)
  return "arm64";
#else
  struct utsname system {};
  ::uname(&system);
  return system.machine;
#endif
}

}  // namespace llamlx
