#pragma once

#include "kernels/linear.h"
#include "kernels/rows.h"

namespace llamlx {

/// How many heads there are, and how wide.
struct HeadLayout {
  int num_attention_heads;
  int num_key_value_heads;
  int head_dim;
};

/// Rotary positions: pair i of a head turns by position / periods[i].
///
/// Shapes   periods [Dh / 2], float32 (1 / inv_freq in Hugging Face's words).
struct Rope {
  bool traditional;  ///< neighbours pair; else element i with i + Dh / 2
  mx::array periods;
};

struct QkvWeights {
  mx::array input_layernorm;  // [D]
  Linear q_proj;              // [H * Dh, D]
  Linear k_proj;              // [Hkv * Dh, D]
  Linear v_proj;              // [Hkv * Dh, D]
};

/// What the step takes besides the rows.
struct QkvParams {
  HeadLayout heads;
  Rope rope;
  float rms_norm_eps;
};

/// Step 2: norms the rows, projects them to queries, keys and values, turns
/// queries and keys by their positions, and appends keys and values to the
/// caches of the rows.
///
/// Shapes   x [N, D]; returns q [N, H, Dh], turned.
/// Dtypes   x and the weights' values alike; the norm is taken in float32.
mx::array qkv_mlx(const mx::array& x, const QkvWeights& weights,
                  const QkvParams& params, int layer, const Rows& rows);

}  // namespace llamlx
