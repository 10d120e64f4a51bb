#pragma once

#include <cstddef>
#include <vector>

#include "kernels/mlp/mlp.h"
#include "kernels/qkv/qkv.h"

namespace llamlx {

struct DecoderLayer {
  QkvWeights qkv;
  Linear o_proj;
  MlpWeights mlp;
};

/// The parameters of a decoder.
struct DecoderWeights {
  Weight embed_tokens;  // [V, D]
  std::vector<DecoderLayer> layers;
  mx::array norm;  // [D]
  Linear lm_head;  // [V, D]; the same arrays as embed_tokens when tied

  std::size_t nbytes = 0;  ///< tied parameters counted once
};

}  // namespace llamlx
