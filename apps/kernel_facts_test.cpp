#include "kernel_facts.h"

#include <algorithm>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::HasSubstr;

const MatmulKernel kFew = [] {
  MatmulKernel kernel{};
  kernel.name = "qmv_quick";
  return kernel;
}();
const MatmulKernel kMany = [] {
  MatmulKernel kernel{};
  kernel.name = "qmm_quick";
  return kernel;
}();

FormatKernels served(int bits, ValueType type) {
  return {{type, bits, bits == 0 ? 0 : 64}, type, {&kFew, &kMany, {}}};
}

KernelFacts facts_of(std::vector<FormatKernels> formats) {
  return {
      {Isa::scalar, Isa::avx2}, Isa::avx2, false, false, std::move(formats)};
}

TEST(KernelFactsTest, FormatsWithTheSameKernelsShareALine) {
  auto other = served(8, ValueType::bf16);
  other.serving.one_row = &kMany;
  const auto checks = check_kernels(
      facts_of({served(0, ValueType::bf16), served(4, ValueType::bf16), other,
                served(6, ValueType::bf16), served(4, ValueType::f32)}));
  ASSERT_EQ(checks.size(), 4u);
  EXPECT_EQ(checks[0].finding, "avx2; found scalar, avx2");
  EXPECT_EQ(checks[1].finding,
            "in bfloat16, dense, 4-bit, 6-bit: qmv_quick for few rows, "
            "qmm_quick for many");
  EXPECT_THAT(checks[2].finding, HasSubstr("in bfloat16, 8-bit: qmm_quick"));
  EXPECT_THAT(checks[3].finding, HasSubstr("in float32, 4-bit"));
  for (const auto& check : checks) EXPECT_EQ(check.status, CheckStatus::ok);
}

TEST(KernelFactsTest, AKernelThatIsWrongIsAWarningThatSaysHow) {
  auto format = served(4, ValueType::bf16);
  format.serving.wrong = {
      {&kMany, format.format, ValueType::bf16, false, "gave 2 for 1"}};
  const auto facts = facts_of({format});
  const auto checks = check_kernels(facts);
  ASSERT_EQ(checks.size(), 3u);
  EXPECT_EQ(checks[2].status, CheckStatus::warning);
  EXPECT_THAT(checks[2].finding, HasSubstr("qmm_quick is not used"));
  EXPECT_THAT(checks[2].finding, HasSubstr("gave 2 for 1"));
  EXPECT_NE(checks[2].remedy, "");
  const auto wrong = to_json(facts)["formats"][0]["wrong"][0];
  EXPECT_EQ(wrong["kernel"], "qmm_quick");
  EXPECT_EQ(wrong["fault"], "gave 2 for 1");
}

TEST(KernelFactsTest, AFormatThatNothingServesIsAProblem) {
  auto format = served(3, ValueType::f16);
  format.serving.many_rows = nullptr;
  const auto facts = facts_of({format});
  const auto check = check_kernels(facts).at(1);
  EXPECT_EQ(check.status, CheckStatus::problem);
  EXPECT_THAT(check.finding, HasSubstr("none for many"));
  EXPECT_NE(check.remedy, "");
  EXPECT_TRUE(to_json(facts)["formats"][0]["many_rows"].is_null());
}

TEST(KernelFactsTest, TellsWhatHoldsTheKernelsBack) {
  auto facts = facts_of({});
  facts.amx_is_refused = true;
  const auto refused = check_kernels(facts).at(0);
  EXPECT_EQ(refused.status, CheckStatus::warning);
  EXPECT_THAT(refused.finding, HasSubstr("refuses this processor's AMX"));
  EXPECT_NE(refused.remedy, "");

  facts.amx_is_refused = false;
  facts.is_forced = true;
  const auto best = check_kernels(facts).at(0);
  EXPECT_EQ(best.status, CheckStatus::ok);
  EXPECT_EQ(best.finding, "avx2, as LLAMLX_FORCE_ISA says; found scalar, avx2");

  facts.active = Isa::scalar;
  const auto less = check_kernels(facts).at(0);
  EXPECT_EQ(less.status, CheckStatus::warning);
  EXPECT_EQ(less.finding,
            "scalar, as LLAMLX_FORCE_ISA says; found scalar, avx2");
  EXPECT_THAT(less.remedy, HasSubstr("unset LLAMLX_FORCE_ISA"));
}

TEST(KernelFactsTest, ThisMachineServesEveryFormatByKernelsItRuns) {
  const auto facts = read_kernel_facts();
  EXPECT_EQ(facts.active, active_isa());
  ASSERT_EQ(facts.formats.size(), 21u);
  for (const auto& [format, compute, serving] : facts.formats) {
    ASSERT_NE(serving.one_row, nullptr);
    ASSERT_NE(serving.many_rows, nullptr);
    EXPECT_LE(serving.one_row->isa, facts.active);
    EXPECT_LE(serving.many_rows->isa, facts.active);
    EXPECT_TRUE(serving.wrong.empty());
  }
}

}  // namespace
}  // namespace llamlx
