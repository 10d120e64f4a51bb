#include "cpu/isa.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(Isa, EveryMachineRunsScalarCode) {
  EXPECT_TRUE(is_supported(Isa::scalar));
  EXPECT_EQ(supported_isas().front(), Isa::scalar);
}

TEST(Isa, NamesAreReadBack) {
  for (const auto isa : supported_isas()) {
    EXPECT_EQ(isa_named(to_string(isa)), isa);
  }
  EXPECT_EQ(isa_named("avx1024"), std::nullopt);
  EXPECT_EQ(isa_named(""), std::nullopt);
}

TEST(Isa, TheActiveOneIsSupported) { EXPECT_TRUE(is_supported(active_isa())); }

}  // namespace
}  // namespace llamlx
