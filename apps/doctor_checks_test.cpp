#include "doctor_checks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::HasSubstr;

constexpr std::uint64_t kGiga = 1'000'000'000;

TEST(DoctorChecksTest, AModelLargerThanTheMachineIsAProblem) {
  const auto check = check_fit(16 * kGiga, 0, 0, 16 * kGiga, 15 * kGiga);
  EXPECT_EQ(check.status, CheckStatus::problem);
  EXPECT_THAT(check.finding, HasSubstr("16.2 GB needed"));
  EXPECT_THAT(check.remedy, HasSubstr("quantise"));
}

TEST(DoctorChecksTest, AModelThatOthersLeaveNoRoomForIsAWarning) {
  const auto check = check_fit(10 * kGiga, 0, 0, 16 * kGiga, 8 * kGiga);
  EXPECT_EQ(check.status, CheckStatus::warning);
  EXPECT_THAT(check.remedy, HasSubstr("close other programs"));
}

TEST(DoctorChecksTest, AContextThatDoesNotFitIsAWarning) {
  const auto check = check_fit(7 * kGiga, 100'000, 8192, 16 * kGiga, 9 * kGiga);
  EXPECT_EQ(check.status, CheckStatus::ok);
  const auto longer =
      check_fit(7 * kGiga, 100'000, 131072, 32 * kGiga, 16 * kGiga);
  EXPECT_EQ(longer.status, CheckStatus::warning);
  EXPECT_THAT(longer.finding, HasSubstr("131072 tokens"));
}

TEST(DoctorChecksTest, NumbersBeyondAllMachinesDoNotWrapAround) {
  // The largest model that the checks of a config let through.
  const auto check = check_fit(std::uint64_t{1} << 62, std::uint64_t{1} << 40,
                               1 << 24, 16 * kGiga, 8 * kGiga);
  EXPECT_EQ(check.status, CheckStatus::problem);
}

TEST(DoctorChecksTest, EveryFindingThatIsNotOkHasARemedy) {
  for (const auto& check : check_machine()) {
    EXPECT_FALSE(check.finding.empty()) << check.name;
    if (check.status != CheckStatus::ok) {
      EXPECT_FALSE(check.remedy.empty()) << check.name;
    }
  }
}

TEST(DoctorChecksTest, AModelThatIsNotThereIsAProblemWithARemedy) {
  const auto checks = check_model("no/such/model");
  ASSERT_EQ(checks.size(), 1u);
  EXPECT_EQ(checks[0].status, CheckStatus::problem);
  EXPECT_THAT(checks[0].finding, HasSubstr("no/such/model"));
  EXPECT_FALSE(checks[0].remedy.empty());
}

}  // namespace
}  // namespace llamlx
