#include "child_process.h"

#include <csignal>
#include <cstdlib>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>

#include <gtest/gtest.h>
#include <unistd.h>

namespace llamlx {
namespace {

constexpr const char* kRole = "LLAMLX_CHILD_ROLE";
constexpr int kStatus = 7;

/// The child is this test program again, with a role to play instead.
int play_role() {
  const char* role = std::getenv(kRole);
  if (role == nullptr) return 0;
  const std::string input(std::istreambuf_iterator<char>(std::cin), {});
  if (std::string_view(role) == "echo") {
    std::cout << "read " << input.size() << " to " << input.back()
              << std::flush;
    std::cerr << std::string(200'000, 'e');
  } else if (std::string_view(role) == "die") {
    ::raise(SIGKILL);
  } else {
    ::kill(::getppid(), SIGTERM);
    ::sleep(60);
  }
  ::_exit(kStatus);
}

[[maybe_unused]] const int played = play_role();

ChildResult run_role(const char* role, std::string_view input) {
  ::setenv(kRole, role, 1);
  const InterruptGuard guard;
  try {
    const auto result = run_self({}, input, guard);
    ::unsetenv(kRole);
    return result;
  } catch (...) {
    ::unsetenv(kRole);
    throw;
  }
}

TEST(ChildProcessTest, GivesInputAndTakesBothOutputs) {
  const auto result = run_role("echo", std::string(300'000, 'x') + "y");
  EXPECT_EQ(result.status, kStatus);
  EXPECT_EQ(result.signal, 0);
  EXPECT_EQ(result.output, "read 300001 to y");
  EXPECT_EQ(result.errors, std::string(200'000, 'e'));
}

TEST(ChildProcessTest, TellsTheSignalThatEndedIt) {
  EXPECT_EQ(run_role("die", "").signal, SIGKILL);
}

TEST(ChildProcessTest, ASignalEndsTheChildToo) {
  try {
    run_role("interrupt", "");
    FAIL() << "not interrupted";
  } catch (const Interrupted& interrupted) {
    EXPECT_EQ(interrupted.signal, SIGTERM);
  }
}

}  // namespace
}  // namespace llamlx
