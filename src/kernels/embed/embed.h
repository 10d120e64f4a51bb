#pragma once

#include "tensor/weight.h"

namespace llamlx {

/// Step 1: the embeddings of token ids.
///
/// Shapes   ids [N]; table [V, D]; returns x [N, D].
/// Dtypes   ids int32, each in [0, V) or -1, which stands for the last row: a
///          token that is not known yet may turn out to be none (kNotFinite,
///          kernels/argmax/argmax.h); returns `dtype`, which is the type of
///          the table's values unless its scales are bytes.
mx::array embed_mlx(const mx::array& ids, const Weight& table, mx::Dtype dtype);

}  // namespace llamlx
