#pragma once

// Asking for memory before it is read. See src/cpu/README.md.

namespace llamlx {
namespace {

/// Asks for the line at `far`, from memory into the second cache, which can
/// wait for more lines than the first; and for the one at `near`, far a while
/// ago, from there into the first. They need not be there: a prefetch does not
/// fault.
[[gnu::always_inline]] inline void ask_for_lines(const void* near,
                                                 const void* far) {
  constexpr int kReads = 0, kSecondCache = 2, kFirstCache = 3;
  __builtin_prefetch(far, kReads, kSecondCache);
  __builtin_prefetch(near, kReads, kFirstCache);
}

}  // namespace
}  // namespace llamlx
