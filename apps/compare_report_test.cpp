#include "compare_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Json run_of(double generation_tps, std::vector<int> tokens) {
  return {{"load_s", 0.5},
          {"prompt_tps", 100.0},
          {"generation_tps", generation_tps},
          {"time_to_first_token_s", 0.25},
          {"peak_memory_bytes", 1'000'000},
          {"prompt_ids", {1, 2}},
          {"tokens", tokens},
          {"text", concat(tokens.size(), " tokens")},
          {"finish_reason", "length"},
          {"dtype", "float32"},
          {"device", "cpu"},
          {"kernels", "mlx"}};
}

ModelRuns model(const std::string& path, std::uint64_t bytes) {
  ModelRuns runs;
  runs.facts.path = path;
  runs.facts.format = "safetensors";
  runs.facts.parameters = 1000;
  runs.facts.disk_bytes = runs.facts.weight_bytes = bytes;
  runs.facts.storage = {{{}, mx::bfloat16, {"norms"}, 1000}};
  return runs;
}

class CompareReportTest : public ::testing::Test {
 protected:
  CompareReportTest() {
    report_.a = model("models/bf16", 2000);
    report_.b = model("models/4bit/", 500);
    for (const double tps : {9.0, 10.0, 12.0}) {
      report_.a.documents.push_back(run_of(tps, {5, 6, 7}));
      report_.b.documents.push_back(run_of(2 * tps, {5, 6, 8, 9}));
    }
    report_.compared_text = "corpus.txt";
    report_.comparison.a = {1, 2, 40};
    report_.comparison.b = {1, 3, 40};
    report_.comparison.mean_kl = 0.25;
    report_.comparison.top1_agreement = 0.9;
  }

  CompareReport report_;
};

TEST_F(CompareReportTest, TakesTheMedianAndTellsTheSpread) {
  EXPECT_EQ(report_.a.median("generation_tps"), 10);
  EXPECT_DOUBLE_EQ(report_.a.spread("generation_tps"), 0.3);
  report_.a.documents.pop_back();
  EXPECT_EQ(report_.a.median("generation_tps"), 9.5);
}

TEST_F(CompareReportTest, RatiosAreOfBOverA) {
  const auto json = to_json(report_);
  EXPECT_EQ(json["ratios"]["generation_tps"], 2);
  EXPECT_EQ(json["ratios"]["disk_bytes"], 0.25);
  EXPECT_EQ(json["ratios"]["perplexity"], 1.5);
  EXPECT_EQ(json["b"]["bits_per_weight"], 4);
  EXPECT_EQ(json["a"]["runs"].size(), 3);
  EXPECT_EQ(json["comparison"]["mean_kl"], 0.25);
  EXPECT_FALSE(ratio(0, 1));
  EXPECT_FALSE(ratio(1, 0));
}

TEST_F(CompareReportTest, WhatWasNotMeasuredHasNoRatio) {
  for (auto& document : report_.a.documents) document["generation_tps"] = 0;
  EXPECT_TRUE(to_json(report_)["ratios"]["generation_tps"].is_null());
  EXPECT_THAT(format_report(report_), Not(HasSubstr("inf")));
}

TEST_F(CompareReportTest, TheTableHasBothAndTheirRatio) {
  const auto text = format_report(report_);
  EXPECT_THAT(text, ::testing::ContainsRegex(
                        "generation +10\\.0 tok/s +20\\.0 tok/s +2\\.00x\n"));
  EXPECT_THAT(text, ::testing::ContainsRegex("model +bf16 +4bit\n"));
  EXPECT_THAT(text, HasSubstr("generation 30% and 30%"));
  EXPECT_THAT(text, HasSubstr("40 tokens of corpus.txt"));
  EXPECT_THAT(text, HasSubstr("90.0 %"));
  EXPECT_THAT(text, HasSubstr("A continues:\n3 tokens"));
  report_.prompt = "Once";
  EXPECT_THAT(format_report(report_), HasSubstr("A continues \"Once\":\n"));
}

TEST_F(CompareReportTest, SaysWhereTheAnswersPart) {
  EXPECT_EQ(common_tokens(report_), 2);
  EXPECT_THAT(format_report(report_), HasSubstr("after 2 of 3 tokens"));
  report_.b.documents = report_.a.documents;
  EXPECT_THAT(format_report(report_), HasSubstr("B says the same."));
}

}  // namespace
}  // namespace llamlx
