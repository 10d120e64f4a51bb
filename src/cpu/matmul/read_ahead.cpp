#include "cpu/matmul/read_ahead.h"

#include "base/cpu_features.h"

namespace llamlx {

ReadAhead read_ahead_of(bool is_amd, int family) {
  constexpr int kZen5 = 26;
  if (is_amd && family == kZen5) return {8 * 1024, false};
  return {16 * 1024, true};
}

const ReadAhead& read_ahead() {
  static const ReadAhead read =
      read_ahead_of(cpu_vendor() == "AuthenticAMD", cpu_family());
  return read;
}

}  // namespace llamlx
