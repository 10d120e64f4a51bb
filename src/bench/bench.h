#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "base/spread.h"
#include "bench/activity.h"
#include "bench/machine_limits.h"
#include "bench/model_cost.h"
#include "llamlx/llamlx.h"

namespace llamlx {

/// One thing to measure: `prompt` tokens read, or `generate` tokens made in
/// each of `batch` sequences; the other is 0. `depth` tokens are in the cache
/// before.
struct BenchTest {
  int prompt = 0;
  int generate = 0;
  int depth = 0;
  int batch = 1;
  int threads = 1;
};

/// "pp512", "tg128", "tg128@d8192", "tg128@d8192@b4".
std::string name_of(const BenchTest& test);

/// Lists of which every combination is measured; a size of 0 is left out.
struct BenchOptions {
  std::vector<int> prompts = {512};
  std::vector<int> generates = {128};
  std::vector<int> depths = {0};
  std::vector<int> threads = {0};  ///< 0: as LoadOptions::threads
  std::vector<int> batches = {1};  ///< of generation; a prompt is read alone
  int repetitions = 5;
  float temperature = 0;         ///< by which tokens are chosen
  std::uint64_t seed = 0;        ///< of the token ids of prompts
  bool record_activity = false;  ///< in the report
  bool usual_limits = false;     ///< measure usual_working_sets(), too
};

/// What a test found. A token of a batch counts as one.
struct BenchResult {
  BenchTest test;
  int repetitions = 0;
  float temperature = 0;
  Spread tokens_per_second;
  Work per_token;
  std::uint64_t peak_memory_bytes = 0;
  /// What the machine's limits allow, 0 where nothing was measured.
  double bandwidth_gb_per_s = 0;  ///< over as many bytes as a pass reads
  ComputePeak peak = {};
  GpuActivity gpu = {};  ///< meanwhile, where it computes (gpu_during)

  double gb_per_s() const;
  double gflop_per_s() const;
  double fraction_of_bandwidth() const;
  double fraction_of_peak() const;
  /// The tokens a second that either limit allows.
  double limit_tokens_per_second() const;
  bool is_memory_bound() const;
};

struct BenchReport {
  std::string path;  ///< empty: the limits of the machine alone
  ModelInfo model = {};
  MachineLimits machine = {};
  std::vector<BenchResult> results = {};
  std::vector<std::string> notices = {};
  Activity activity = {};
};

/// How far a benchmark has come.
struct BenchProgress {
  Phase phase;
  std::string label;  ///< e.g. "tg128@d8192"
  double share;       ///< of the expected time, 0 to 1
};
using BenchProgressFn = std::function<void(const BenchProgress&)>;

/// The combinations, in the order they are measured: by threads, then depth.
std::vector<BenchTest> tests_of(const BenchOptions& options);

/// Measures the model at `path`: for each number of threads it is loaded anew,
/// and each test has one pass that does not count. Prompts are random tokens.
///
/// A prompt takes as long as its user waits for the first token; generation is
/// the loop of generate(). Reading goes beyond the model's context if it must.
/// Errors: those of load_model(); Error (out_of_memory) when the caches are
/// larger than the memory; std::invalid_argument for options out of range.
BenchReport run_bench(const std::filesystem::path& path,
                      const LoadOptions& load_options,
                      const BenchOptions& options,
                      const BenchProgressFn& on_progress = {});

/// Measures usual_working_sets() and units with one thread and with each of
/// `threads`, and those of the GPU where `device` means one that our kernels
/// run on; no model is needed. Errors: Error (no_device).
BenchReport run_limits(const std::vector<int>& threads, Device device,
                       const BenchProgressFn& on_progress = {});

}  // namespace llamlx
