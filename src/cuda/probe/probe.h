#pragma once

#include <cstdint>

namespace llamlx::cuda {

struct ProbeArgs {
  std::uint32_t* numbers;
  std::uint32_t count;
  std::uint32_t scale;
  std::uint32_t shift;
};

}  // namespace llamlx::cuda
