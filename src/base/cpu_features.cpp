#include "base/cpu_features.h"

#include <array>
#include <cstdint>
#include <cstring>
#include <fstream>

#if defined(__x86_64__)
#include <cpuid.h>
#endif
#if defined(__linux__)
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__aarch64__)
#include <sys/auxv.h>
#endif
#elif defined(__APPLE__)
#include <sys/sysctl.h>
#endif

namespace llamlx {
namespace {

constexpr std::array<std::string_view,
                     static_cast<std::size_t>(CpuFeature::count)>
    kNames = {"sse4_2",      "avx",         "f16c",       "fma",
              "avx2",        "avx_vnni",    "avx512f",    "avx512bw",
              "avx512dq",    "avx512vl",    "avx512vbmi", "avx512_vnni",
              "avx512_bf16", "avx512_fp16", "amx_tile",   "amx_int8",
              "amx_bf16",    "neon",        "fp16",       "dotprod",
              "i8mm",        "bf16",        "sve"};

#if defined(__x86_64__)

struct Registers {
  unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
};

/// All zero for leaves the processor does not have.
Registers cpuid(unsigned leaf, unsigned subleaf = 0) {
  Registers r;
  __get_cpuid_count(leaf, subleaf, &r.eax, &r.ebx, &r.ecx, &r.edx);
  return r;
}

bool bit(unsigned word, int index) { return (word >> index & 1) != 0; }

/// XCR0: the register files the system saves when it switches threads.
std::uint64_t saved_state(const Registers& leaf1) {
  constexpr int kOsxsave = 27;
  if (!bit(leaf1.ecx, kOsxsave)) return 0;
  std::uint32_t low = 0, high = 0;
  // The instruction itself, so that this file needs no -mxsave.
  __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return std::uint64_t{high} << 32 | low;
}

/// Linux gives the large tile registers only to processes that ask.
bool amx_permitted() {
#if defined(__linux__)
  constexpr long kRequestPermission = 0x1023;  // ARCH_REQ_XCOMP_PERM
  constexpr long kTileData = 18;               // XFEATURE_XTILEDATA
  return ::syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
#else
  return false;
#endif
}

void add_avx512(const Registers& leaf7, const Registers& leaf7_1,
                CpuFeatures& found) {
  const bool foundation = bit(leaf7.ebx, 16);
  found.add(CpuFeature::avx512f, foundation);
  found.add(CpuFeature::avx512dq, foundation && bit(leaf7.ebx, 17));
  found.add(CpuFeature::avx512bw, foundation && bit(leaf7.ebx, 30));
  found.add(CpuFeature::avx512vl, foundation && bit(leaf7.ebx, 31));
  found.add(CpuFeature::avx512vbmi, foundation && bit(leaf7.ecx, 1));
  found.add(CpuFeature::avx512_vnni, foundation && bit(leaf7.ecx, 11));
  found.add(CpuFeature::avx512_fp16, foundation && bit(leaf7.edx, 23));
  found.add(CpuFeature::avx512_bf16, foundation && bit(leaf7_1.eax, 5));
}

CpuFeatures detect() {
  constexpr std::uint64_t kAvxState = 0x6;      // XMM, YMM
  constexpr std::uint64_t kAvx512State = 0xe6;  // and opmask, ZMM
  constexpr std::uint64_t kAmxState = 0x60000;  // tile config and data
  CpuFeatures found;
  const auto leaf1 = cpuid(1);
  const auto leaf7 = cpuid(7);
  const auto leaf7_1 = leaf7.eax >= 1 ? cpuid(7, 1) : Registers{};
  const auto saved = saved_state(leaf1);
  const auto saves = [&](std::uint64_t state) {
    return (saved & state) == state;
  };
  found.add(CpuFeature::sse4_2, bit(leaf1.ecx, 20));
  if (saves(kAvxState) && bit(leaf1.ecx, 28)) {
    found.add(CpuFeature::avx);
    found.add(CpuFeature::fma, bit(leaf1.ecx, 12));
    found.add(CpuFeature::f16c, bit(leaf1.ecx, 29));
    found.add(CpuFeature::avx2, bit(leaf7.ebx, 5));
    found.add(CpuFeature::avx_vnni, bit(leaf7_1.eax, 4));
    if (saves(kAvx512State)) add_avx512(leaf7, leaf7_1, found);
  }
  if (saves(kAmxState) && bit(leaf7.edx, 24) && amx_permitted()) {
    found.add(CpuFeature::amx_tile);
    found.add(CpuFeature::amx_int8, bit(leaf7.edx, 25));
    found.add(CpuFeature::amx_bf16, bit(leaf7.edx, 22));
  }
  return found;
}

bool has_amx() { return bit(cpuid(7).edx, 24); }

/// The twelve letters some leaves spell in three registers.
std::string letters(unsigned a, unsigned b, unsigned c) {
  char text[12];
  std::memcpy(text, &a, 4);
  std::memcpy(text + 4, &b, 4);
  std::memcpy(text + 8, &c, 4);
  return {text, sizeof(text)};
}

std::string name_from_processor() {
  std::string name;
  for (const unsigned leaf : {0x80000002u, 0x80000003u, 0x80000004u}) {
    const auto r = cpuid(leaf);
    const unsigned words[4] = {r.eax, r.ebx, r.ecx, r.edx};
    name.append(reinterpret_cast<const char*>(words), sizeof(words));
  }
  return name.c_str();  // up to the zeros that fill the last leaf
}

#elif defined(__aarch64__) && defined(__linux__)

CpuFeatures detect() {
  // Bits of AT_HWCAP and AT_HWCAP2 that old headers do not name.
  const auto caps = ::getauxval(AT_HWCAP);
  const auto caps2 = ::getauxval(AT_HWCAP2);
  const auto bit = [](unsigned long word, int index) {
    return (word >> index & 1) != 0;
  };
  CpuFeatures found;
  found.add(CpuFeature::neon, bit(caps, 1));
  found.add(CpuFeature::fp16, bit(caps, 10));
  found.add(CpuFeature::dotprod, bit(caps, 20));
  found.add(CpuFeature::sve, bit(caps, 22));
  found.add(CpuFeature::i8mm, bit(caps2, 13));
  found.add(CpuFeature::bf16, bit(caps2, 14));
  return found;
}

#elif defined(__aarch64__) && defined(__APPLE__)

CpuFeatures detect() {
  const auto has = [](const char* key) {
    int value = 0;
    std::size_t size = sizeof(value);
    return ::sysctlbyname(key, &value, &size, nullptr, 0) == 0 && value != 0;
  };
  CpuFeatures found;
  found.add(CpuFeature::neon);
  found.add(CpuFeature::fp16, has("hw.optional.arm.FEAT_FP16"));
  found.add(CpuFeature::dotprod, has("hw.optional.arm.FEAT_DotProd"));
  found.add(CpuFeature::i8mm, has("hw.optional.arm.FEAT_I8MM"));
  found.add(CpuFeature::bf16, has("hw.optional.arm.FEAT_BF16"));
  return found;
}

#else

CpuFeatures detect() { return {}; }

#endif

/// The value of the first line "key : value" of /proc/cpuinfo.
std::string cpuinfo_value(std::string_view key) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    if (!line.starts_with(key)) continue;
    const auto begin = line.find_first_not_of(" \t", line.find(':') + 1);
    return begin == std::string::npos ? "" : line.substr(begin);
  }
  return {};
}

}  // namespace

std::string_view to_string(CpuFeature feature) {
  return kNames.at(static_cast<std::size_t>(feature));
}

std::vector<std::string_view> CpuFeatures::names() const {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < kNames.size(); ++i) {
    if (bits_[i]) names.push_back(kNames[i]);
  }
  return names;
}

const CpuFeatures& cpu_features() {
  static const CpuFeatures features = detect();
  return features;
}

bool amx_is_refused() {
#if defined(__x86_64__)
  return has_amx() && !cpu_features().has(CpuFeature::amx_tile);
#else
  return false;
#endif
}

std::string cpu_name() {
  std::string name;
#if defined(__x86_64__)
  name = name_from_processor();
#elif defined(__APPLE__)
  char text[128] = {};
  std::size_t size = sizeof(text) - 1;
  ::sysctlbyname("machdep.cpu.brand_string", text, &size, nullptr, 0);
  name = text;
#endif
  if (name.find_first_not_of(' ') == std::string::npos) {
    name = cpuinfo_value("model name");
  }
  if (name.empty()) return "unknown";
  return name.substr(name.find_first_not_of(' '));
}

std::string cpu_vendor() {
#if defined(__x86_64__)
  const auto vendor = cpuid(0);
  return letters(vendor.ebx, vendor.edx, vendor.ecx);
#else
  return {};
#endif
}

int cpu_family() {
#if defined(__x86_64__)
  constexpr unsigned kIsExtended = 15;
  const unsigned signature = cpuid(1).eax;
  const unsigned family = signature >> 8 & 15;
  const unsigned extension = family == kIsExtended ? signature >> 20 & 255 : 0;
  return static_cast<int>(family + extension);
#else
  return 0;
#endif
}

std::string cpu_emulator() {
#if defined(__APPLE__)
  int translated = 0;
  std::size_t size = sizeof(translated);
  ::sysctlbyname("sysctl.proc_translated", &translated, &size, nullptr, 0);
  if (translated == 1) return "Rosetta";
#endif
#if defined(__x86_64__)
  if (cpu_vendor() == "VirtualApple") return "Rosetta";
  constexpr int kHypervisor = 31;
  if (bit(cpuid(1).ecx, kHypervisor)) {
    unsigned a = 0, b = 0, c = 0, d = 0;
    // Past what __get_cpuid_count would let through.
    __cpuid(0x40000000, a, b, c, d);
    if (letters(b, c, d) == "TCGTCGTCGTCG") return "QEMU";
  }
#elif defined(__aarch64__) && defined(__linux__)
  // An ARM program that is shown an x86 machine's file runs under emulation.
  if (!cpuinfo_value("vendor_id").empty()) return "QEMU";
#endif
  return {};
}

}  // namespace llamlx
