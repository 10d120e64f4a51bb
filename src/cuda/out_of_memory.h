#pragma once

#include <cstddef>

namespace llamlx {

/// Throws Error (out_of_memory): what was asked for of the GPU, and what is
/// free.
[[noreturn]] void fail_for_memory(std::size_t bytes);

}  // namespace llamlx
