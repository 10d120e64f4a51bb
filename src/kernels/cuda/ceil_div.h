#pragma once

#include <type_traits>

namespace llamlx {

/// How many steps it takes to cover n.
template <typename Result, typename N>
constexpr Result ceil_div(N n, std::type_identity_t<N> step) {
  return static_cast<Result>((n + step - 1) / step);
}

}  // namespace llamlx
