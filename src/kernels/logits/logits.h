#pragma once

#include "kernels/linear.h"

namespace llamlx {

/// Step 6: final norm and projection onto the vocabulary.
///
/// Shapes   x [M, D]; norm [D]; lm_head [V, D]; returns [M, V] in float32.
mx::array logits_mlx(const mx::array& x, const mx::array& norm,
                     const Linear& lm_head, float rms_norm_eps);

}  // namespace llamlx
