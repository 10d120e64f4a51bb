#include <algorithm>
#include <stdexcept>

#include "base/concat.h"
#include "base/cpu_count.h"
#include "bench/bench.h"
#include "generate/sampler.h"

namespace llamlx {
namespace {

/// One thread needs a name, and numbers have to fit an int when added up.
void check_range(const std::vector<int>& values, std::string_view what,
                 int smallest, int largest) {
  for (const int value : values) {
    if (value >= smallest && value <= largest) continue;
    throw std::invalid_argument(concat(what, " must be from ", smallest, " to ",
                                       largest, ", got ", value));
  }
}

void check_options(const BenchOptions& options) {
  constexpr int kMostTokens = 1 << 24, kMostSequences = 1 << 12;
  constexpr int kMostThreads = 1 << 10, kMostRepetitions = 1 << 20;
  check_range(options.prompts, "prompt tokens", 0, kMostTokens);
  check_range(options.generates, "generated tokens", 0, kMostTokens);
  check_range(options.depths, "a depth", 0, kMostTokens);
  check_range(options.threads, "threads", 0, kMostThreads);
  check_range(options.batches, "a batch", 1, kMostSequences);
  check_range({options.repetitions}, "repetitions", 1, kMostRepetitions);
  Sampler({.temperature = options.temperature});  // refuses what is none
}

}  // namespace

std::string name_of(const BenchTest& test) {
  auto name =
      test.prompt > 0 ? concat("pp", test.prompt) : concat("tg", test.generate);
  if (test.depth > 0) name += concat("@d", test.depth);
  if (test.batch > 1) name += concat("@b", test.batch);
  return name;
}

std::vector<BenchTest> tests_of(const BenchOptions& options) {
  check_options(options);
  std::vector<BenchTest> tests;
  for (const int asked : options.threads) {
    const int threads = asked > 0 ? asked : cpu_count().usable;
    for (const int depth : options.depths) {
      for (const int prompt : options.prompts) {
        if (prompt > 0) tests.push_back({prompt, 0, depth, 1, threads});
      }
      for (const int batch : options.batches) {
        for (const int generate : options.generates) {
          if (generate == 0) continue;
          tests.push_back({0, generate, depth, batch, threads});
        }
      }
    }
  }
  if (tests.empty()) {
    throw std::invalid_argument(
        "nothing to measure: prompt and generated tokens are all 0");
  }
  return tests;
}

double BenchResult::gb_per_s() const {
  return per_token.bytes * tokens_per_second.median / 1e9;
}

double BenchResult::gflop_per_s() const {
  return per_token.flops * tokens_per_second.median / 1e9;
}

double BenchResult::fraction_of_bandwidth() const {
  return bandwidth_gb_per_s > 0 ? gb_per_s() / bandwidth_gb_per_s : 0;
}

double BenchResult::fraction_of_peak() const {
  return peak.gflop_per_s > 0 ? gflop_per_s() / peak.gflop_per_s : 0;
}

bool BenchResult::is_memory_bound() const {
  // Seconds a token, times 1e9.
  return per_token.bytes * peak.gflop_per_s >
         per_token.flops * bandwidth_gb_per_s;
}

double BenchResult::limit_tokens_per_second() const {
  return is_memory_bound() ? bandwidth_gb_per_s * 1e9 / per_token.bytes
                           : peak.gflop_per_s * 1e9 / per_token.flops;
}

}  // namespace llamlx
