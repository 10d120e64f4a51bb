#include "formats/tensor_size.h"

#include <algorithm>
#include <limits>

namespace llamlx {

std::optional<std::uint64_t> bits_needed(const mlx::core::Shape& shape,
                                         std::uint64_t bits) {
  constexpr auto kMost = std::numeric_limits<std::int64_t>::max();
  auto product = bits;
  for (const auto dimension : shape) {
    const auto factor = static_cast<std::uint64_t>(std::max(dimension, 1));
    if (product > kMost / factor) return {};
    product *= factor;
  }
  return std::ranges::count(shape, 0) > 0 ? 0 : product;
}

}  // namespace llamlx
