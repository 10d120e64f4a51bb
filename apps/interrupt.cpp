#include "interrupt.h"

#include <csignal>

namespace llamlx {
namespace {

constexpr int kSignals[] = {SIGINT, SIGTERM, SIGHUP};

// The only kind of variable a signal handler may write.
volatile std::sig_atomic_t caught_signal = 0;

extern "C" void remember_signal(int signal) { caught_signal = signal; }

}  // namespace

InterruptGuard::InterruptGuard() {
  caught_signal = 0;
  for (const int signal : kSignals) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    // nohup and background jobs of scripts are started deaf to some of them.
    if (action.sa_handler == SIG_IGN) continue;
    action = {};
    action.sa_handler = remember_signal;
    action.sa_flags = SA_RESETHAND | SA_RESTART;
    ::sigaction(signal, &action, nullptr);
  }
}

InterruptGuard::~InterruptGuard() {
  for (const int signal : kSignals) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != remember_signal) continue;
    action = {};
    action.sa_handler = SIG_DFL;
    ::sigaction(signal, &action, nullptr);
  }
}

void InterruptGuard::check() const {
  if (caught_signal != 0) throw Interrupted{caught_signal};
}

int InterruptGuard::signal() const { return caught_signal; }

}  // namespace llamlx
