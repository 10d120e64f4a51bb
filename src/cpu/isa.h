#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// Instruction sets that kernels are written for. On one architecture each
/// builds upon those before it.
enum class Isa {
  scalar,       ///< what the compiler makes of plain C++
  avx2,         ///< AVX2, FMA, F16C
  avx512,       ///< AVX-512 F, BW, DQ, VL
  avx512_vnni,  ///< and VNNI, VBMI
  avx512_bf16,  ///< and BF16
  amx,          ///< and AMX tiles, bf16 and int8
  neon,         ///< 64-bit ARM as it always is
  neon_dotprod,
  neon_i8mm,
  neon_bf16,
};

/// "avx512_vnni".
std::string_view to_string(Isa isa);

/// The instruction set named `name`, if there is one.
std::optional<Isa> isa_named(std::string_view name);

/// Whether this processor and this system run it.
bool is_supported(Isa isa);

/// Those this machine runs, from scalar to the last.
std::vector<Isa> supported_isas();

/// The last instruction set that kernels may use: the environment's
/// LLAMLX_FORCE_ISA, or else the last that is supported. Read once.
/// Errors: Error (unsupported) when LLAMLX_FORCE_ISA names none, or one this
/// machine does not run. Threads: any.
Isa active_isa();

}  // namespace llamlx
