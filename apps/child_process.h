#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "interrupt.h"

namespace llamlx {

/// What a process that ended has left.
struct ChildResult {
  int status = 0;      ///< exit status, when it was not ended by a signal
  int signal = 0;      ///< the signal that ended it, or 0
  std::string output;  ///< of standard output
  std::string errors;  ///< of standard error
};

/// Runs this very program with `arguments`, gives it `input` to read, and waits
/// for its end. A signal that `guard` has caught ends the child too.
/// Errors: Error (io_error) when it cannot be started; Interrupted.
ChildResult run_self(const std::vector<std::string>& arguments,
                     std::string_view input, const InterruptGuard& guard);

}  // namespace llamlx
