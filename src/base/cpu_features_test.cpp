#include "base/cpu_features.h"

#include <algorithm>
#include <fstream>
#include <initializer_list>
#include <iterator>
#include <set>
#include <sstream>
#include <string>
#include <string_view>

#if defined(__linux__) && defined(__aarch64__)
#include <csignal>

#include <sys/wait.h>
#include <unistd.h>
#endif

#include <gtest/gtest.h>

namespace llamlx {
namespace {

/// What /proc/cpuinfo says of the first processor under one of these names.
std::string kernel_says(std::initializer_list<std::string_view> names) {
  std::ifstream in("/proc/cpuinfo");
  for (std::string line; std::getline(in, line);) {
    const auto colon = line.find(':');
    if (colon == std::string::npos) continue;
    const auto name =
        line.substr(0, line.find_last_not_of("\t ", colon - 1) + 1);
    if (std::ranges::find(names, name) == names.end()) continue;
    const auto value = line.find_first_not_of(' ', colon + 1);
    return value == std::string::npos ? "" : line.substr(value);
  }
  return {};
}

std::set<std::string> kernel_flags() {
  std::istringstream words(kernel_says({"flags", "Features"}));
  return {std::istream_iterator<std::string>(words), {}};
}

#if defined(__linux__) && defined(__x86_64__)
TEST(CpuFeaturesTest, AgreeWithTheKernelFlagByFlag) {
  const auto flags = kernel_flags();
  if (flags.empty()) GTEST_SKIP() << "no flags in /proc/cpuinfo";
  for (auto i = 0; i <= static_cast<int>(CpuFeature::amx_bf16); ++i) {
    const auto feature = static_cast<CpuFeature>(i);
    const std::string name(to_string(feature));
    EXPECT_EQ(cpu_features().has(feature), flags.contains(name)) << name;
  }
}

TEST(CpuFeaturesTest, VendorAndFamilyAreTheKernels) {
  if (kernel_says({"vendor_id"}).empty()) {
    GTEST_SKIP() << "no vendor in /proc/cpuinfo";
  }
  EXPECT_EQ(cpu_vendor(), kernel_says({"vendor_id"}));
  EXPECT_EQ(std::to_string(cpu_family()), kernel_says({"cpu family"}));
}
#endif

#if defined(__linux__) && defined(__aarch64__)
TEST(CpuFeaturesTest, AgreeWithTheKernelFlagByFlag) {
  if (!cpu_emulator().empty()) GTEST_SKIP() << "its /proc is another machine's";
  const auto flags = kernel_flags();
  EXPECT_EQ(cpu_features().has(CpuFeature::neon), flags.contains("asimd"));
  EXPECT_EQ(cpu_features().has(CpuFeature::fp16), flags.contains("asimdhp"));
  EXPECT_EQ(cpu_features().has(CpuFeature::dotprod), flags.contains("asimddp"));
  EXPECT_EQ(cpu_features().has(CpuFeature::i8mm), flags.contains("i8mm"));
  EXPECT_EQ(cpu_features().has(CpuFeature::bf16), flags.contains("bf16"));
  EXPECT_EQ(cpu_features().has(CpuFeature::sve), flags.contains("sve"));
}

/// Whether a process lives on after this instruction.
bool runs(void (*instruction)()) {
  const auto child = ::fork();
  if (child == 0) {
    std::signal(SIGILL, [](int) { ::_exit(1); });
    instruction();
    ::_exit(0);
  }
  int status = -1;
  ::waitpid(child, &status, 0);
  return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

// Written as numbers, which need no compiler or assembler that knows them.
TEST(CpuFeaturesTest, AreTheInstructionsThatRun) {
  EXPECT_EQ(cpu_features().has(CpuFeature::neon), runs([] {
              __asm__ volatile("add v0.4s, v0.4s, v0.4s" ::: "v0");
            }));
  EXPECT_EQ(cpu_features().has(CpuFeature::fp16), runs([] {
              // fadd v0.8h, v0.8h, v0.8h
              __asm__ volatile(".inst 0x4e401400" ::: "v0");
            }));
  EXPECT_EQ(cpu_features().has(CpuFeature::dotprod), runs([] {
              // sdot v0.4s, v0.16b, v0.16b
              __asm__ volatile(".inst 0x4e809400" ::: "v0");
            }));
  EXPECT_EQ(cpu_features().has(CpuFeature::i8mm), runs([] {
              // smmla v0.4s, v0.16b, v0.16b
              __asm__ volatile(".inst 0x4e80a400" ::: "v0");
            }));
  EXPECT_EQ(cpu_features().has(CpuFeature::bf16), runs([] {
              // bfmmla v0.4s, v0.8h, v0.8h
              __asm__ volatile(".inst 0x6e40ec00" ::: "v0");
            }));
  EXPECT_EQ(cpu_features().has(CpuFeature::sve), runs([] {
              // cntb x0
              __asm__ volatile(".inst 0x0420e3e0" ::: "x0");
            }));
}
#endif

#if defined(__x86_64__)
TEST(CpuFeaturesTest, AgreeWithTheCompilersOwnDetection) {
  __builtin_cpu_init();
  EXPECT_EQ(cpu_features().has(CpuFeature::avx2),
            __builtin_cpu_supports("avx2") != 0);
  EXPECT_EQ(cpu_features().has(CpuFeature::fma),
            __builtin_cpu_supports("fma") != 0);
  EXPECT_EQ(cpu_features().has(CpuFeature::avx512f),
            __builtin_cpu_supports("avx512f") != 0);
}
#endif

TEST(CpuFeaturesTest, NamesAreThoseOfTheFeaturesAdded) {
  CpuFeatures features;
  EXPECT_TRUE(features.names().empty());
  features.add(CpuFeature::sve);
  features.add(CpuFeature::avx2);
  features.add(CpuFeature::fma, false);
  EXPECT_EQ(features.names(), (std::vector<std::string_view>{"avx2", "sve"}));
}

TEST(CpuFeaturesTest, EveryFeatureHasItsOwnName) {
  std::set<std::string_view> names;
  for (auto i = 0; i < static_cast<int>(CpuFeature::count); ++i) {
    EXPECT_TRUE(names.insert(to_string(static_cast<CpuFeature>(i))).second);
  }
}

TEST(CpuFeaturesTest, AmxThatIsUsedIsNotRefused) {
  if (!cpu_features().has(CpuFeature::amx_tile)) {
    GTEST_SKIP() << "no AMX to use here";
  }
  EXPECT_FALSE(amx_is_refused());
}

TEST(CpuFeaturesTest, TheProcessorHasAName) {
  const auto name = cpu_name();
  ASSERT_FALSE(name.empty());
  EXPECT_NE(name.front(), ' ');
}

}  // namespace
}  // namespace llamlx
