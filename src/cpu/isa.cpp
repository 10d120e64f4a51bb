#include "cpu/isa.h"

#include <algorithm>
#include <array>
#include <cstdlib>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

struct IsaRow {
  Isa isa;
  std::vector<CpuFeature> needs;  // beside those of the rows before
};

const std::vector<IsaRow>& isa_rows() {
  using F = CpuFeature;
  static const std::vector<IsaRow> rows {
    {Isa::scalar, {}},
#if defined(__x86_64__)
        {Isa::avx2, {F::avx2, F::fma, F::f16c}},
        {Isa::avx512, {F::avx512f, F::avx512bw, F::avx512dq, F::avx512vl}},
        {Isa::avx512_vnni, {F::avx512_vnni, F::avx512vbmi}},
        {Isa::avx512_bf16, {F::avx512_bf16}},
        {Isa::amx, {F::amx_tile, F::amx_bf16, F::amx_int8}},
#elif defined(__aarch64__)
        {Isa::neon, {F::neon}}, {Isa::neon_dotprod, {F::dotprod}},
        {Isa::neon_i8mm, {F::i8mm}}, {Isa::neon_bf16, {F::bf16}},
#endif
  };
  return rows;
}

std::string names_of(const std::vector<Isa>& isas) {
  std::string names;
  for (const auto isa : isas) {
    names += concat(names.empty() ? "" : ", ", to_string(isa));
  }
  return names;
}

}  // namespace

std::string_view to_string(Isa isa) {
  constexpr std::array<std::string_view, 10> kNames{
      "scalar", "avx2", "avx512",       "avx512_vnni", "avx512_bf16",
      "amx",    "neon", "neon_dotprod", "neon_i8mm",   "neon_bf16"};
  return kNames.at(static_cast<std::size_t>(isa));
}

std::optional<Isa> isa_named(std::string_view name) {
  for (const auto& row : isa_rows()) {
    if (to_string(row.isa) == name) return row.isa;
  }
  return {};
}

bool is_supported(Isa isa) {
  return std::ranges::count(supported_isas(), isa) > 0;
}

std::vector<Isa> isas_with(const CpuFeatures& features) {
  std::vector<Isa> isas;
  for (const auto& row : isa_rows()) {
    const bool has_all = std::ranges::all_of(
        row.needs, [&](auto feature) { return features.has(feature); });
    if (!has_all) break;
    isas.push_back(row.isa);
  }
  return isas;
}

std::vector<Isa> supported_isas() { return isas_with(cpu_features()); }

Isa last_isa(std::string_view forced) {
  const auto supported = supported_isas();
  if (forced.empty()) return supported.back();
  const auto isa = isa_named(forced);
  if (!isa || !is_supported(*isa)) {
    fail(ErrorCode::unsupported, "LLAMLX_FORCE_ISA",
         concat('"', forced, "\" is ",
                isa ? "not supported by this machine"
                    : "no instruction set of this architecture"),
         concat("use one of: ", names_of(supported)));
  }
  return *isa;
}

Isa active_isa() {
  static const Isa isa = [] {
    const char* forced = std::getenv("LLAMLX_FORCE_ISA");
    return last_isa(forced == nullptr ? "" : forced);
  }();
  return isa;
}

}  // namespace llamlx
