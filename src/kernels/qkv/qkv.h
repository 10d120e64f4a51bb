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

/// Rotary positions: pair i of a head turns by position / periods[i], and grows
/// by `scale` (YaRN's attention factor; rotation is linear, so it does not
/// matter which comes first).
///
/// Shapes   periods [Dh / 2], float32 (1 / inv_freq in Hugging Face's words);
///          or [number of segments, Dh / 2] when sequences turn each its own
///          way (dynamic scaling).
struct Rope {
  bool traditional;  ///< neighbours pair; else element i with i + Dh / 2
  float scale;
  mx::array periods;
};

struct QkvWeights {
  mx::array input_layernorm;  // [D]
  Linear q_proj;              // [H * Dh, D]
  Linear k_proj;              // [Hkv * Dh, D]
  Linear v_proj;              // [Hkv * Dh, D]
  // Norms of every head's query and key, before they turn (Qwen 3).
  std::optional<mx::array> q_norm = {};  // [Dh]
  std::optional<mx::array> k_norm = {};  // [Dh]
};

/// What the step takes besides the rows.
struct QkvParams {
  HeadLayout heads;
  Rope rope;
  float rms_norm_eps;
};

/// Step 2: norms the rows, projects them to queries, keys and values, norms
/// queries and keys where the model does, turns them by their positions, and
/// appends keys and values to the caches of the rows.
///
/// Shapes   x [N, D]; returns q [N, H, Dh], turned.
/// Dtypes   x and the weights' values alike; norms are taken in float32.
/// Source   Su et al. 2021, "RoFormer", arXiv:2104.09864; Peng et al. 2023,
///          "YaRN", arXiv:2309.00071; Yang et al. 2025, "Qwen3 Technical
///          Report", arXiv:2505.09388 (norms of queries and keys).
mx::array qkv_mlx(const mx::array& x, const QkvWeights& weights,
                  const QkvParams& params, int layer, const Rows& rows);

}  // namespace llamlx
