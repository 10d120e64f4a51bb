#pragma once

namespace llamlx {

/// How products of few rows ask memory for weights before they read them.
struct ReadAhead {
  int bytes;  ///< of a weight, between what is multiplied and what is asked for
  /// Whether the second cache asks memory, and the first the second later;
  /// else the first asks at once.
  bool is_by_two_caches;
};

/// What was fastest on processors of a cpu_family(), of AMD or of others
/// (docs/performance.md).
ReadAhead read_ahead_of(bool is_amd, int family);

/// What is fastest on this one. Threads: any.
const ReadAhead& read_ahead();

}  // namespace llamlx
