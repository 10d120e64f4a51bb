#pragma once

#include "kernels/linear.h"

namespace llamlx {

/// Step 4: projects the heads' outputs back and adds the residual.
///
/// Shapes   heads [N, H * Dh]; o_proj [D, H * Dh]; x [N, D]; returns [N, D].
mx::array output_mlx(const mx::array& heads, const Linear& o_proj,
                     const mx::array& x);

}  // namespace llamlx
