#include <mlx/ops.h>

#include "kernels/embed/embed.h"

namespace llamlx {

mx::array embed_mlx(const mx::array& ids, const Weight& table,
                    mx::Dtype dtype) {
  const auto rows = take_rows(table, ids);
  if (!rows.quantization) return rows.data;
  const auto& [bits, group_size, mode] = *rows.quantization;
  return mx::dequantize(rows.data, *rows.scales, rows.biases, group_size, bits,
                        to_string(mode), std::nullopt, dtype);
}

}  // namespace llamlx
