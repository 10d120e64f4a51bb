#pragma once

#include "kernels/rows.h"

namespace llamlx {

/// Step 3: every query row looks at its own sequence up to its own position.
///
/// Query heads h * H / Hkv ... share key/value head h. Scores are scaled by
/// 1 / sqrt(Dh); the softmax is taken in float32.
///
/// Shapes   q [N, H, Dh]; returns [N, H * Dh].
/// Source   Ainslie et al. 2023, "GQA", arXiv:2305.13245.
mx::array attention_mlx(const mx::array& q, int layer, const Rows& rows);

}  // namespace llamlx
