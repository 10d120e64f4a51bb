#include "seed_screens.h"

#include <gtest/gtest.h>

namespace llamlx::seed {
namespace {

constexpr std::int32_t kEos = 2;

struct Step {
  std::string text;
  std::int32_t token = 0;
};

/// What has been written after every step, and in the end.
std::vector<std::string> run(int max_tokens, const std::vector<Step>& steps) {
  FewShotAnswer answer(max_tokens, {kEos});
  std::vector<std::string> written;
  std::string all;
  for (const auto& step : steps) {
    if (answer.ended()) break;
    all += answer.add({step.text, step.token});
    written.push_back(all);
  }
  written.push_back(all + answer.finish());
  return written;
}

using Written = std::vector<std::string>;

TEST(SeedScreensTest, TextIsHeldBackWhileItEndsAsTheWordBegins) {
  EXPECT_EQ(run(9, {{"a ["}, {"Inst"}, {"ead"}, {"["}}),
            (Written{"", "", "a [Instead", "a [Instead", "a [Instead["}));
}

TEST(SeedScreensTest, TheWordEndsTheAnswerWithAllThatIsHeldBack) {
  EXPECT_EQ(run(9, {{"a"}, {"b[Instr"}, {"uction]"}, {"never"}}),
            (Written{"a", "a", "a", "a"}));
  EXPECT_EQ(run(9, {{"a"}, {"b[Instruction]"}}), (Written{"a", "a", "a"}));
}

TEST(SeedScreensTest, AWordInsideATokenIsMissed) {
  EXPECT_EQ(run(9, {{"[Instruction"}, {"]\n"}}),
            (Written{"", "[Instruction]\n", "[Instruction]\n"}));
}

TEST(SeedScreensTest, TheLastTokenIsNotLookedAt) {
  EXPECT_EQ(run(2, {{"[Instruction"}, {"]"}, {"never"}}),
            (Written{"", "", "[Instruction]"}));
  EXPECT_EQ(run(1, {{"a"}, {"never"}}), (Written{"", "a"}));
}

TEST(SeedScreensTest, EosEndsTheAnswerUnlessSomethingIsHeldBack) {
  EXPECT_EQ(run(9, {{"a"}, {"", kEos}, {"never"}}), (Written{"a", "a", "a"}));
  EXPECT_EQ(run(9, {{"a["}, {"", kEos}, {"b"}}),
            (Written{"", "", "a[b", "a[b"}));
}

TEST(SeedScreensTest, LoadedFilesAreNamedAsPythonNamesThem) {
  EXPECT_EQ(loading_model({"mlx_model/weights.npz"}),
            "[INFO] Loading model from mlx_model/weights.npz.\n");
  EXPECT_EQ(loading_model({"./m//weights.00.npz", "./m//weights.01.npz"}),
            "[INFO] Loading model from m/weights.*.npz.\n");
  EXPECT_EQ(loading_model({"/m/weights.00.npz"}),
            "[INFO] Loading model from /m/weights.*.npz.\n");
  EXPECT_EQ(loading_model({"m/a.safetensors", "m/b.safetensors"}),
            "[INFO] Loading model from m/a.safetensors, m/b.safetensors.\n");
}

TEST(SeedScreensTest, TimesHaveThreeDigits) {
  Result result;
  result.time_to_first_token_s = 0.1234;
  result.total_s = 12;
  EXPECT_EQ(timings(result),
            "[INFO] Prompt processing: 0.123 s\n"
            "[INFO] Full generation: 12.000 s\n");
}

}  // namespace
}  // namespace llamlx::seed
