#pragma once

namespace llamlx {

/// The user (Ctrl-C) or the system asked the program to stop. main() leaves
/// with 128 + signal, as shells expect.
struct Interrupted {
  int signal;
};

/// While it lives, the first SIGINT, SIGTERM or SIGHUP does not end the program
/// but is remembered, so that half-written files can be removed. A second one
/// ends the program at once. One object at a time.
class InterruptGuard {
 public:
  InterruptGuard();
  InterruptGuard(const InterruptGuard&) = delete;
  InterruptGuard& operator=(const InterruptGuard&) = delete;
  ~InterruptGuard();

  /// Throws Interrupted when a signal has come.
  void check() const;

  /// The signal that has come, or 0.
  int signal() const;
};

}  // namespace llamlx
