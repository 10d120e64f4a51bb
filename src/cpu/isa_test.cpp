#include "cpu/isa.h"

#include <cstdlib>

#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

CpuFeatures features_of(std::initializer_list<CpuFeature> present) {
  CpuFeatures features;
  for (const auto feature : present) features.add(feature);
  return features;
}

TEST(Isa, EveryMachineRunsScalarCode) {
  EXPECT_TRUE(is_supported(Isa::scalar));
  EXPECT_EQ(supported_isas().front(), Isa::scalar);
  EXPECT_EQ(isas_with({}), std::vector{Isa::scalar});
}

TEST(Isa, EachNeedsThoseBeforeIt) {
  using F = CpuFeature;
  using Isas = std::vector<Isa>;
#if defined(__x86_64__)
  EXPECT_EQ(isas_with(features_of({F::avx2, F::f16c})), Isas{Isa::scalar});
  EXPECT_EQ(isas_with(features_of({F::avx2, F::f16c, F::fma, F::avx512f,
                                   F::avx512vl, F::avx512_bf16})),
            (Isas{Isa::scalar, Isa::avx2}));
#elif defined(__aarch64__)
  EXPECT_EQ(isas_with(features_of({F::dotprod, F::bf16})), Isas{Isa::scalar});
  EXPECT_EQ(isas_with(features_of({F::neon, F::fp16, F::i8mm, F::bf16})),
            (Isas{Isa::scalar, Isa::neon}));
  EXPECT_EQ(isas_with(features_of({F::neon, F::dotprod, F::i8mm})),
            (Isas{Isa::scalar, Isa::neon, Isa::neon_dotprod, Isa::neon_i8mm}));
  EXPECT_EQ(isas_with(features_of({F::neon, F::dotprod, F::i8mm, F::bf16})),
            (Isas{Isa::scalar, Isa::neon, Isa::neon_dotprod, Isa::neon_i8mm,
                  Isa::neon_bf16}));
#endif
}

TEST(Isa, NamesAreReadBack) {
  for (const auto isa : supported_isas()) {
    EXPECT_EQ(isa_named(to_string(isa)), isa);
  }
  EXPECT_EQ(isa_named("avx1024"), std::nullopt);
  EXPECT_EQ(isa_named(""), std::nullopt);
}

TEST(Isa, TheActiveOneIsTheOneForcedOrTheLast) {
  const char* forced = std::getenv("LLAMLX_FORCE_ISA");
  if (forced != nullptr && *forced != '\0') {
    EXPECT_EQ(to_string(active_isa()), forced);
  } else {
    EXPECT_EQ(active_isa(), supported_isas().back());
  }
}

TEST(Isa, AnyThatIsSupportedCanBeForced) {
  for (const auto isa : supported_isas()) {
    EXPECT_EQ(last_isa(to_string(isa)), isa);
  }
  EXPECT_EQ(last_isa(""), supported_isas().back());
}

TEST(Isa, NoOtherCanBeForced) {
  for (const auto isa : {Isa::avx2, Isa::avx512, Isa::avx512_vnni, Isa::amx,
                         Isa::neon, Isa::neon_dotprod, Isa::neon_bf16}) {
    if (is_supported(isa)) continue;
    const std::string name(to_string(isa));
    const auto message =
        testing::error_of(ErrorCode::unsupported, [&] { last_isa(name); });
    EXPECT_TRUE(message.starts_with("LLAMLX_FORCE_ISA: \"" + name + "\" is "))
        << message;
  }
  const auto message =
      testing::error_of(ErrorCode::unsupported, [] { last_isa("avx1024"); });
  EXPECT_NE(message.find("\"avx1024\" is no instruction set"),
            std::string::npos)
      << message;
  EXPECT_NE(message.find("use one of: scalar"), std::string::npos) << message;
}

}  // namespace
}  // namespace llamlx
