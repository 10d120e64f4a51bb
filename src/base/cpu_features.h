#pragma once

#include <bitset>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// Instruction sets that kernels choose by.
enum class CpuFeature {
  // x86-64
  sse4_2,
  avx,
  f16c,
  fma,
  avx2,
  avx_vnni,
  avx512f,
  avx512bw,
  avx512dq,
  avx512vl,
  avx512vbmi,
  avx512_vnni,
  avx512_bf16,
  avx512_fp16,
  amx_tile,
  amx_int8,
  amx_bf16,
  // 64-bit ARM
  neon,
  fp16,
  dotprod,
  i8mm,
  bf16,
  sve,
  count,
};

/// The name the field uses, which on x86 is the flag in /proc/cpuinfo.
std::string_view to_string(CpuFeature feature);

/// The instruction sets this program may use, which takes both the processor
/// and the system: registers that the system does not save do not count, nor
/// does AMX when Linux refuses its permission.
class CpuFeatures {
 public:
  bool has(CpuFeature feature) const {
    return bits_[static_cast<std::size_t>(feature)];
  }
  void add(CpuFeature feature, bool present = true) {
    bits_[static_cast<std::size_t>(feature)] = present;
  }
  /// Names of those present, in the order of the enum.
  std::vector<std::string_view> names() const;

 private:
  std::bitset<static_cast<std::size_t>(CpuFeature::count)> bits_;
};

/// Asked of the processor once. On Linux this also asks for the permission to
/// use AMX. Threads: any.
/// Source: Intel SDM vol. 2 "CPUID" and vol. 1 ch. 13 (XCR0); Linux,
/// Documentation/arch/x86/xstate.rst and arch/arm64/elf_hwcaps.rst.
const CpuFeatures& cpu_features();

/// Whether the processor has AMX, and the system keeps it from this program: it
/// does not save the tiles, or refuses its permission. Threads: any.
bool amx_is_refused();

/// The processor's name, e.g. "Apple M1 Max"; "unknown" if it has none.
std::string cpu_name();

/// Who made the processor, as x86 says it ("AuthenticAMD", "GenuineIntel");
/// empty elsewhere.
std::string cpu_vendor();

/// The processor's family, as x86 says it (25 for AMD's Zen 3 and Zen 4, 26 for
/// Zen 5); 0 elsewhere.
int cpu_family();

/// Who emulates this processor or translates this program ("Rosetta", "QEMU"),
/// or empty when it runs natively, as far as can be told.
std::string cpu_emulator();

}  // namespace llamlx
