#pragma once

#include <cstddef>
#include <cstdint>

namespace llamlx {

/// One unit that multiplies, kept busy in registers alone.
struct UnitKernel {
  /// What it multiplies: "float32", "bfloat16" or "int8".
  const char* type;
  /// Multiplications and additions of one round.
  double operations;
  void (*run)(std::int64_t rounds);
};

/// What the file of one instruction set has to measure limits with.
struct LimitKernels {
  /// Reads `words` 64-bit words from a line's beginning, and adds them up;
  /// `words` is a multiple of kSumWords. Null: as the set before does.
  std::uint64_t (*sum)(const std::uint64_t* data, std::size_t words);
  UnitKernel units[2];  ///< `type` is null where there is none
};

/// 512 bytes: eight lines.
inline constexpr std::size_t kSumWords = 64;

extern const LimitKernels limits_scalar;
extern const LimitKernels limits_avx2;
extern const LimitKernels limits_avx512;
extern const LimitKernels limits_avx512_vnni;
extern const LimitKernels limits_avx512_bf16;
extern const LimitKernels limits_amx;
extern const LimitKernels limits_neon;
extern const LimitKernels limits_neon_dotprod;
extern const LimitKernels limits_neon_i8mm;
extern const LimitKernels limits_neon_bf16;

}  // namespace llamlx
