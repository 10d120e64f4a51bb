#pragma once

#include "kernels/rows.h"

namespace llamlx {

/// Step 3: every query row looks at its own sequence up to its own position;
/// with a `window` above 0, at the last `window` positions of those: a row at
/// position p sees the positions above p - window, up to p.
///
/// Query heads h * H / Hkv ... share key/value head h. Scores are scaled by
/// 1 / sqrt(Dh); the softmax is taken in float32.
///
/// Shapes   q [N, H, Dh]; returns [N, H * Dh].
/// Source   Ainslie et al. 2023, "GQA", arXiv:2305.13245; Jiang et al. 2023,
///          "Mistral 7B", arXiv:2310.06825 (the window).
mx::array attention_mlx(const mx::array& q, int layer, int window,
                        const Rows& rows);

}  // namespace llamlx
