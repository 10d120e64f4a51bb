#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/cpu_features.h"

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

/// Those that a processor with these features runs, from scalar to the last:
/// one that lacks what an instruction set needs has none of those that follow.
std::vector<Isa> isas_with(const CpuFeatures& features);

/// Those this machine runs, from scalar to the last.
std::vector<Isa> supported_isas();

/// The last instruction set that kernels may use where LLAMLX_FORCE_ISA is
/// `forced`: that one, or the last that is supported when it is empty.
/// Errors: Error (unsupported) when it names none, or one this machine does
/// not run.
Isa last_isa(std::string_view forced);

/// last_isa() of the environment's LLAMLX_FORCE_ISA. Read once.
/// Errors: as last_isa(). Threads: any.
Isa active_isa();

}  // namespace llamlx
