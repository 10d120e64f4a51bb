#pragma once

#include "cuda/matmul/packed_weight.h"
#include "cuda/segment.h"
#include "cuda/token/draw.h"

namespace llamlx::cuda {

/// Sequences in one pass.
inline constexpr int kMostSegments = 64;

/// The first kernel of a pass: embeds its tokens, and puts where the others
/// find it what they need to know of the pass. As all that differs from pass to
/// pass comes with this one's arguments, a captured graph of the rest serves
/// any.
///
/// Kernel   begin_pass; a block of 256 threads for every row.
/// Shapes   ids [rows], each in [0, vocab), or -1, which stands for the last
///          row of the table; periods [segments or 1, pairs]; cos_sin
///          [rows][2][pairs]; x [rows, hidden].
struct BeginArgs {
  SegmentView segments[kMostSegments];
  int firsts[kMostSegments];  ///< in the text, of what each one's cache holds
  int num_segments;
  const int* ids;
  Choice choice;
  // From here on the same in every pass.
  const unsigned char* table;
  PackedLayout layout;
  int tiles;
  int vocab;
  int hidden;
  const float* periods;  ///< pair i turns by position / periods[i]
  int periods_stride;    ///< of a segment: pairs, or 0 if all turn alike
  int pairs;
  float rope_scale;
  SegmentView* segments_out;
  Choice* choice_out;
  float* cos_sin;
  float* x;
};

}  // namespace llamlx::cuda
