#pragma once

#include "kernels/linear.h"

namespace llamlx {

struct MlpWeights {
  mx::array post_attention_layernorm;  // [D]
  Linear gate_proj;                    // [F, D]
  Linear up_proj;                      // [F, D]
  Linear down_proj;                    // [D, F]
};

/// Step 5: x + down(silu(gate(norm(x))) * up(norm(x))).
///
/// Shapes   x [N, D]; returns [N, D].
/// Source   Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202.
mx::array mlp_mlx(const mx::array& x, const MlpWeights& weights,
                  float rms_norm_eps);

}  // namespace llamlx
