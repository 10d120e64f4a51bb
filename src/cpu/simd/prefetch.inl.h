#pragma once

// Asking for memory before it is read. See src/cpu/README.md.

namespace llamlx {
namespace {

inline constexpr int kLine = 64;  // bytes that memory brings at a time

/// Asks for the line at `p`, from wherever it is into the first cache. It need
/// not be there: a prefetch does not fault.
[[gnu::always_inline]] inline void ask_for_line(const void* p) {
  constexpr int kReads = 0, kFirstCache = 3;
  __builtin_prefetch(p, kReads, kFirstCache);
}

/// Asks for the line at `far`, from memory into the second cache, which can
/// wait for more lines than the first; and for the one at `near`, far a while
/// ago, from there into the first.
[[gnu::always_inline]] inline void ask_for_lines(const void* near,
                                                 const void* far) {
  constexpr int kReads = 0, kSecondCache = 2;
  __builtin_prefetch(far, kReads, kSecondCache);
  ask_for_line(near);
}

}  // namespace
}  // namespace llamlx
