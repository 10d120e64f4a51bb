#pragma once

#include <cstdint>

/// Before a function that both the host and kernels call.
#ifdef __CUDACC__
#define LLAMLX_HOST_DEVICE __host__ __device__
#else
#define LLAMLX_HOST_DEVICE
#endif

namespace llamlx::cuda {

/// 16 bytes that are loaded or stored together.
struct alignas(16) Words4 {
  std::uint32_t w[4];
};

/// 8 bytes that are loaded or stored together.
struct alignas(8) Words2 {
  std::uint32_t w[2];
};

struct alignas(16) Floats4 {
  float f[4];
};

// Names of the types of numbers, as tags and as values.
struct F32 {};
struct F16 {};
struct Bf16 {};
struct Q8 {};  // of caches alone (cached_rows.h)
enum class NumberType : int { f32, f16, bf16, q8 };

LLAMLX_HOST_DEVICE constexpr int number_bytes(NumberType type) {
  return type == NumberType::f32 ? 4 : 2;
}
LLAMLX_HOST_DEVICE constexpr NumberType number_type(F32) {
  return NumberType::f32;
}
LLAMLX_HOST_DEVICE constexpr NumberType number_type(F16) {
  return NumberType::f16;
}
LLAMLX_HOST_DEVICE constexpr NumberType number_type(Bf16) {
  return NumberType::bf16;
}
LLAMLX_HOST_DEVICE constexpr NumberType number_type(Q8) {
  return NumberType::q8;
}

}  // namespace llamlx::cuda
