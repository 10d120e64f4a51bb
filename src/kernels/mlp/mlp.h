#pragma once

#include "kernels/linear.h"

namespace llamlx {

/// The weights of one mlp, or of E experts: then each of its three linear
/// layers has their rows one expert after another, and no bias.
struct MlpWeights {
  mx::array post_attention_layernorm;  // [D]
  Linear gate_proj;                    // [F, D]; [E * F, D]
  Linear up_proj;                      // [F, D]; [E * F, D]
  Linear down_proj;                    // [D, F]; [E * D, F]
  std::optional<Linear> router = {};   // [E, D]: there are experts
};

/// How many experts a row goes to, and whether their shares add up to 1.
struct ExpertParams {
  int num_experts_per_tok = 0;
  bool norm_topk_prob = false;
};

/// Step 5: x + down(silu(gate(norm(x))) * up(norm(x))).
///
/// Shapes   x [N, D]; returns [N, D].
/// Source   Shazeer 2020, "GLU Variants Improve Transformer", arXiv:2002.05202.
mx::array mlp_mlx(const mx::array& x, const MlpWeights& weights,
                  float rms_norm_eps);

/// Step 5 of a layer with experts: x + the sum over a row's experts of what
/// they make of norm(x), as mlp_mlx has it, times their shares. The router's
/// products are softmaxed over all experts; the largest choose a row's experts,
/// of equal ones the first, and are their shares, divided by their sum where
/// `norm_topk_prob` says so. All of this is float32 whatever x is.
///
/// Shapes   x [N, D]; returns [N, D].
/// Dtypes   MLX's CPU multiplies dense experts in float32 alone: others become
///          that for the moment there.
/// Source   Shazeer et al. 2017, "Outrageously Large Neural Networks",
///          arXiv:1701.06538.
mx::array experts_mlx(const mx::array& x, const MlpWeights& weights,
                      const ExpertParams& params, float rms_norm_eps);

}  // namespace llamlx
