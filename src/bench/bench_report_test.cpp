#include "bench/bench_report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "bench/picture.h"

namespace llamlx {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

BenchReport example() {
  BenchReport report;
  report.path = "models/a<b>,\"c\"|d/";
  report.model.quantization = "affine 4-bit, group 64";
  report.model.dtype = "float32";
  report.model.device = "cpu";
  report.model.kernels = "mlx";
  report.machine.cpu = "Some & CPU";
  report.machine.isa = "avx2";
  report.machine.bandwidths = {{200'000'000, 2, Pages::huge, 50, 48}};
  report.machine.peaks = {{Isa::avx2, "float32", 2, 500, 490}};
  for (const int prompt : {16, 0}) {
    BenchResult result;
    result.test = {prompt, prompt > 0 ? 0 : 8, 0, 1, 2};
    result.repetitions = 2;
    result.tokens_per_second = {100, 90, 105};
    result.per_token = {2e8, 4e8};
    result.bandwidth_gb_per_s = 50;
    result.peak = {"avx2 float32", 500};
    result.peak_memory_bytes = 123'000'000;
    report.results.push_back(result);
  }
  return report;
}

/// The same on a GPU that says how busy it is.
BenchReport gpu_example() {
  auto report = example();
  report.model.device = "gpu";
  report.machine.bandwidths.clear();
  report.machine.peaks.clear();
  report.machine.gpu = {.name = "Some GPU",
                        .compute_capability = 90,
                        .multiprocessors = 132,
                        .memory_bytes = 80'000'000'000,
                        .bandwidths = {{200'000'000, 3000, 2900}},
                        .peaks = {{"wgmma", "float16", 600'000, 590'000}}};
  for (auto& result : report.results) {
    result.bandwidth_gb_per_s = 3000;
    result.peak = {"wgmma float16", 200'000, 3};
    result.gpu = {.busy_percent = 90,
                  .memory_used_bytes = 2'000'000'000,
                  .memory_total_bytes = std::nullopt,
                  .watts = 350.5,
                  .sm_clock_mhz = std::nullopt};
  }
  report.activity.gauges = {{"CPU of llamlx", Gauge::Unit::percent},
                            {"memory of llamlx", Gauge::Unit::bytes},
                            {kGpuBusy, Gauge::Unit::percent},
                            {kGpuMemory, Gauge::Unit::bytes},
                            {kGpuPower, Gauge::Unit::watts}};
  report.activity.samples = {{0.0, {50, 1e8, 0, 1e10, 90}},
                             {5.0, {100, 2e8, 90, 4e10, 400}}};
  report.activity.spans = {{Phase::prompt, "pp16", 0, 5}};
  return report;
}

TEST(BenchReportTest, IsADocumentOfStableKeys) {
  const auto json = to_json(example());
  EXPECT_EQ(json["machine"]["limits"]["read_bandwidth"][0]["bytes"], 200000000);
  EXPECT_EQ(json["machine"]["limits"]["peaks"][0]["type"], "float32");
  const auto& result = json["results"][0];
  EXPECT_EQ(result["test"], "pp16");
  EXPECT_EQ(result["prompt"], 16);
  EXPECT_EQ(result["tokens_per_second"]["min"], 90);
  EXPECT_EQ(result["ms_per_token"], 10);
  EXPECT_DOUBLE_EQ(result["gb_per_s"], 20);
  EXPECT_DOUBLE_EQ(result["fraction_of_bandwidth"], 0.4);
  EXPECT_DOUBLE_EQ(result["limit"]["tokens_per_second"], 250);
}

TEST(BenchReportTest, SaysNothingOfLimitsThatWereNotMeasured) {
  auto report = example();
  auto& result = report.results[0];
  result.bandwidth_gb_per_s = result.peak.gflop_per_s = 0;
  const auto json = to_json(report)["results"][0];
  EXPECT_TRUE(json["fraction_of_peak"].is_null());
  EXPECT_TRUE(json["limit"]["tokens_per_second"].is_null());
  EXPECT_EQ(results_table(report)[1][8], "-");
}

TEST(BenchReportTest, SaysWhatTheGpuCanDoAndWhatItDid) {
  const auto json = to_json(gpu_example());
  const auto& gpu = json["machine"]["gpu"];
  EXPECT_EQ(gpu["name"], "Some GPU");
  EXPECT_EQ(gpu["limits"]["read_bandwidth"][0]["gb_per_s"], 3000);
  EXPECT_EQ(gpu["limits"]["peaks"][0]["unit"], "wgmma");
  EXPECT_EQ(json["results"][0]["gpu"]["busy_percent"], 90);
  EXPECT_EQ(json["results"][0]["gpu"]["memory_bytes"], 2'000'000'000);
  EXPECT_EQ(json["results"][0]["gpu"]["watts"], 350.5);
  EXPECT_EQ(json["activity"]["gauges"][4]["unit"], "watts");
  EXPECT_EQ(json["activity"]["gauges"][4]["values"][1], 400);
  EXPECT_EQ(json["activity"]["seconds"][1], 5);
  EXPECT_EQ(json["activity"]["spans"][0]["label"], "pp16");
  EXPECT_THAT(machine_line(gpu_example().machine),
              HasSubstr("Some GPU, 132 multiprocessors of compute capability "
                        "9.0, 80.0 GB; Some & CPU"));
  EXPECT_EQ(bandwidth_table(gpu_example().machine).back()[1], "GPU");
  EXPECT_EQ(peaks_table(gpu_example().machine).back()[1], "GPU");
}

TEST(BenchReportTest, SaysNothingOfAGpuThatIsNotThereOrNotTelling) {
  const auto json = to_json(example());
  EXPECT_TRUE(json["machine"]["gpu"].is_null());
  EXPECT_TRUE(json["results"][0]["gpu"]["watts"].is_null());
  EXPECT_TRUE(json["activity"].is_null());
}

TEST(BenchReportTest, OfLimitsAloneHasNoResults) {
  const auto json = to_json(BenchReport());
  EXPECT_TRUE(json.contains("machine"));
  EXPECT_FALSE(json.contains("results"));
}

TEST(BenchReportTest, HasAColumnForEveryTitle) {
  for (const auto& table :
       {results_table(example()), results_numbers(example())}) {
    ASSERT_EQ(table.size(), 3u);
    for (const auto& row : table) EXPECT_EQ(row.size(), table[0].size());
  }
}

TEST(BenchReportTest, QuotesCellsOfCsv) {
  EXPECT_EQ(to_csv({{"a", "b,c"}, {"d\"e", "f\ng"}}),
            "a,\"b,c\"\n\"d\"\"e\",\"f\ng\"\n");
}

TEST(BenchReportTest, EscapesBarsOfMarkdown) {
  EXPECT_EQ(to_markdown({{"a", "b"}, {"c|d", "e\nf"}}),
            "| a | b |\n| --- | ---: |\n| c\\|d | e f |\n");
}

TEST(BenchReportTest, NamesTheModelByItsFolder) {
  EXPECT_EQ(model_name({.path = "models/tiny/"}), "tiny");
  EXPECT_EQ(model_name({.path = "tiny.gguf"}), "tiny.gguf");
}

TEST(PictureTest, ShowsEveryTestItsLimitAndThePhases) {
  auto report = example();
  report.activity.gauges = {{"CPU of llamlx", Gauge::Unit::percent},
                            {"memory of llamlx", Gauge::Unit::bytes}};
  report.activity.samples = {{0.0, {50, 1e8}}, {5.0, {100, 2e8}}};
  report.activity.spans = {{Phase::prompt, "pp16", 0, 5}};
  const auto picture = draw_picture(report);
  for (const char* text :
       {">pp16<", ">tg8<", "40% of 250 tok/s, the limit of memory",
        "reading 200 MB: 50 GB/s", "roof, float32: 500 GFLOP/s",
        ">CPU of llamlx<", ">memory of llamlx<", ">prompt<", ">200 MB<"}) {
    EXPECT_THAT(picture, HasSubstr(text));
  }
}

TEST(PictureTest, ShowsTheGpu) {
  const auto picture = draw_picture(gpu_example());
  for (const char* text :
       {"Some GPU, 132 multiprocessors", ">GPU busy<", ">GPU memory<",
        ">GPU power<", ">400 W<", ">40 GB<", "reading 200 MB: 3000 GB/s",
        "roof, float16 / 3: 200000 GFLOP/s", "The roof is that of the GPU;"}) {
    EXPECT_THAT(picture, HasSubstr(text));
  }
}

TEST(PictureTest, LeavesOutWhatTheGpuDoesNotTell) {
  auto report = gpu_example();
  report.activity.gauges.resize(2);
  for (auto& sample : report.activity.samples) sample.values.resize(2);
  const auto picture = draw_picture(report);
  EXPECT_THAT(picture, HasSubstr(">memory of llamlx<"));
  for (const char* text : {">GPU busy<", ">GPU power<", " W<"}) {
    EXPECT_THAT(picture, Not(HasSubstr(text)));
  }
}

TEST(PictureTest, EscapesNames) {
  const auto picture = draw_picture(example());
  EXPECT_THAT(picture, HasSubstr("a&lt;b&gt;,&quot;c&quot;|d"));
  EXPECT_THAT(picture, HasSubstr("Some &amp; CPU"));
}

TEST(PictureTest, LeavesOutWhatWasNotMeasured) {
  auto report = example();
  for (auto& result : report.results) {
    result.bandwidth_gb_per_s = result.peak.gflop_per_s = 0;
  }
  const auto picture = draw_picture(report);
  EXPECT_THAT(picture, Not(HasSubstr("roof")));
  EXPECT_THAT(picture, Not(HasSubstr("nan")));
  EXPECT_THAT(picture, Not(HasSubstr("inf<")));
  EXPECT_THAT(picture, HasSubstr("100 tok/s"));
}

}  // namespace
}  // namespace llamlx
