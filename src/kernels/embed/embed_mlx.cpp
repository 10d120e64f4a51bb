#include <mlx/ops.h>

#include "kernels/embed/embed.h"

namespace llamlx {

mx::array embed_mlx(const mx::array& ids, const Weight& table) {
  const auto rows = [&](const mx::array& part) {
    return mx::take(part, ids, 0);
  };
  if (!table.quantization) return rows(table.data);
  return mx::dequantize(rows(table.data), rows(*table.scales),
                        rows(*table.biases), table.quantization->group_size,
                        table.quantization->bits);
}

}  // namespace llamlx
