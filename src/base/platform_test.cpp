#include "base/platform.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/utsname.h>

namespace llamlx {
namespace {

using ::testing::HasSubstr;

#if defined(__linux__)
TEST(PlatformTest, TheSystemIsNamedWithItsKernel) {
  struct utsname system {};
  ASSERT_EQ(::uname(&system), 0);
  EXPECT_THAT(os_name(), HasSubstr(system.release));
}
#endif

TEST(PlatformTest, TheArchitectureIsTheProgramsOwn) {
#if defined(__x86_64__)
  EXPECT_EQ(program_architecture(), "x86_64");
#elif defined(__aarch64__)
  EXPECT_EQ(program_architecture(), "arm64");
#endif
  EXPECT_FALSE(program_architecture().empty());
}

}  // namespace
}  // namespace llamlx
