#pragma once

#include <string_view>

#include "kernels/attention/attention.h"
#include "kernels/embed/embed.h"
#include "kernels/logits/logits.h"
#include "kernels/mlp/mlp.h"
#include "kernels/output/output.h"
#include "kernels/qkv/qkv.h"

namespace llamlx {

/// Who computes the six steps of a decoder. Each step's header says what it
/// must compute; a backend fills the table with functions that do, its own or
/// those of mlx_backend(). Nothing above this table knows which ran.
struct Backend {
  std::string_view name;
  decltype(&embed_mlx) embed;
  decltype(&qkv_mlx) qkv;
  decltype(&attention_mlx) attention;
  decltype(&output_mlx) output;
  decltype(&mlp_mlx) mlp;
  decltype(&logits_mlx) logits;
};

/// Every step written with MLX's own ops: runs on every device MLX has, is the
/// reference that kernels are tested against, and the path of gradients.
const Backend& mlx_backend();

}  // namespace llamlx
