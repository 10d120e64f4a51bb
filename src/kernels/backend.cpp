#include "kernels/backend.h"

namespace llamlx {

const Backend& mlx_backend() {
  static constexpr Backend kBackend{
      "mlx", embed_mlx, qkv_mlx, attention_mlx, output_mlx, mlp_mlx, logits_mlx,
  };
  return kBackend;
}

}  // namespace llamlx
