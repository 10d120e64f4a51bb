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

extern const LimitKernels kLimitsScalar;
extern const LimitKernels kLimitsAvx2;
extern const LimitKernels kLimitsAvx512;
extern const LimitKernels kLimitsAvx512Vnni;
extern const LimitKernels kLimitsAvx512Bf16;
extern const LimitKernels kLimitsAmx;
extern const LimitKernels kLimitsNeon;
extern const LimitKernels kLimitsNeonDotprod;
extern const LimitKernels kLimitsNeonI8mm;
extern const LimitKernels kLimitsNeonBf16;

}  // namespace llamlx
