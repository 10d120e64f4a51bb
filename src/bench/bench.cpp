#include "bench/bench.h"

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <random>
#include <utility>

#include <mlx/memory.h>
#include <mlx/transforms.h>

#include "base/clock.h"
#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "base/system_memory.h"
#include "bench/gpu_limits.h"
#include "bench/watch.h"
#include "cuda/cached_rows.h"
#include "generate/loaded_model.h"
#include "generate/token_loop.h"

namespace llamlx {
namespace {

using Caches = std::vector<std::unique_ptr<KVCache>>;

/// Token ids that are the same wherever the seed is.
class RandomTokens {
 public:
  RandomTokens(std::uint64_t seed, int vocab_size)
      : draw_(seed), vocab_size_(static_cast<std::uint64_t>(vocab_size)) {}

  std::vector<std::int32_t> take(int count) {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(count));
    for (auto& id : ids) id = static_cast<std::int32_t>(draw_() % vocab_size_);
    return ids;
  }

 private:
  std::mt19937_64 draw_;
  std::uint64_t vocab_size_;
};

/// What `decoder` does in a test, whose parameters cost `cost`.
Work work_of(const Decoder& decoder, const ModelCost& cost,
             const BenchTest& test) {
  if (test.prompt > 0) {
    return prompt_work(cost, test.depth, test.prompt, decoder.prefill_rows());
  }
  auto work = generate_work(cost, test.depth, test.generate, test.batch);
  work.bytes -=
      static_cast<double>(decoder.spared_bytes(test.batch)) * test.generate;
  return work;
}

int tokens_of(const BenchTest& test) {
  return test.prompt > 0 ? test.prompt : test.generate * test.batch;
}

int passes_of(const Decoder& decoder, const BenchTest& test) {
  const int rows = decoder.prefill_rows();
  return test.prompt > 0 ? (test.prompt + rows - 1) / rows : test.generate;
}

/// Bytes of a head's keys, or values, of a position.
std::size_t cached_bytes(const LoadedModel& model) {
  const int head_dim = model.decoder.config().head_dim;
  if (model.info.kv_bits == 0) {
    return mx::size_of(*float_dtype(model.info.dtype)) *
           static_cast<std::size_t>(head_dim);
  }
  constexpr auto kType = cuda::NumberType::q8;
  return cuda::cached_row_bytes(kType, head_dim) +
         sizeof(float) * cuda::cached_row_scales(kType, head_dim);
}

/// The model with one number of threads, and the tests of that number.
class ModelBench {
 public:
  ModelBench(const LoadedModel& model, std::vector<BenchTest> tests,
             const BenchOptions& options, Watch& watch)
      : model_(model),
        tests_(std::move(tests)),
        options_(options),
        watch_(watch),
        random_(options.seed, model.decoder.config().vocab_size),
        cost_(cost_of(model.decoder.config(), model.decoder.weights(),
                      cached_bytes(model))) {}

  void run(BenchReport& report) {
    check_memory();
    model_.decoder.warm_up();
    measure_limits(report.machine);
    std::vector<BenchResult> results;
    for (const auto& test : tests_) {
      results.push_back(ceilings(report.machine, test));
    }
    double expected = 0;
    for (const auto& result : results) expected += expected_seconds(result);
    watch_.expect(expected);
    for (auto& result : results) {
      measure(result);
      report.results.push_back(result);
    }
  }

 private:
  Work work(const BenchTest& test) const {
    return work_of(model_.decoder, cost_, test);
  }

  /// The bytes that one pass reads.
  double pass_bytes(const BenchTest& test) const {
    return work(test).bytes / passes_of(model_.decoder, test);
  }

  void check_memory() const {
    // That of a GPU is planned when a model is loaded.
    if (model_.processor == Processor::cuda) return;
    double most = 0;
    for (const auto& test : tests_) {
      most = std::max(most, double(test.batch) *
                                (test.depth + test.prompt + test.generate));
    }
    most *= cost_.cache_bytes * double(cost_.windows.size());
    const auto total = static_cast<double>(system_memory().total_bytes);
    if (total == 0 || most <= total) return;
    fail(ErrorCode::out_of_memory, "the benchmark",
         concat("its keys and values take ",
                human_size(static_cast<std::uint64_t>(most)),
                ", and this machine has ",
                human_size(static_cast<std::uint64_t>(total))),
         "choose smaller depths, sizes or batches");
  }

  void measure_limits(MachineLimits& machine) {
    if (model_.processor == Processor::mlx) return;
    watch_.enter(Phase::limits,
                 machine.gpu ? "limits of the GPU" : "limits of the machine");
    for (const auto& test : tests_) {
      if (machine.gpu) {
        add_peaks(*machine.gpu);
        add_bandwidth(*machine.gpu, pass_bytes(test));
      } else {
        add_peaks(machine, test.threads);
        add_bandwidth(machine, pass_bytes(test), test.threads);
      }
    }
  }

  BenchResult ceilings(const MachineLimits& machine, const BenchTest& test) {
    BenchResult result;
    result.test = test;
    result.per_token = work(test) / tokens_of(test);
    const auto& dtype = model_.info.dtype;
    if (machine.gpu) {
      result.bandwidth_gb_per_s =
          best_bandwidth(*machine.gpu, pass_bytes(test));
      result.peak = best_peak(*machine.gpu, dtype);
    } else {
      result.bandwidth_gb_per_s =
          best_bandwidth(machine, pass_bytes(test), test.threads);
      result.peak = best_peak(machine, dtype, reads_codes(), test.threads);
    }
    return result;
  }

  /// Whether layers are multiplied as codes, however they are stored.
  bool reads_codes() const {
    const auto& layer = model_.decoder.weights().layers.front();
    return layer.mlp.down_proj.weight.quantization.has_value();
  }

  /// What a test takes at the limits: only the proportions matter.
  double expected_seconds(const BenchResult& result) const {
    const auto& test = result.test;
    const bool has_limits = result.bandwidth_gb_per_s > 0;
    const double one = has_limits
                           ? tokens_of(test) / result.limit_tokens_per_second()
                           : work(test).bytes;
    return one * (options_.repetitions + (test.prompt > 0 ? 1 : 0));
  }

  /// Brings `batch` caches to `depth` tokens each.
  void fill(int batch, int depth) {
    const bool can_go_back = std::ranges::all_of(
        caches_, [&](const auto& cache) { return cache->can_rewind(depth); });
    if (depth_ != depth || !can_go_back) caches_.clear();
    depth_ = depth;
    while (caches_.size() < static_cast<std::size_t>(batch)) {
      caches_.push_back(model_.decoder.make_cache(depth + longest(depth)));
      if (depth > 0) {
        prefill(model_.decoder, *caches_.back(), random_.take(depth));
      }
    }
    caches_.resize(static_cast<std::size_t>(batch));
    for (const auto& cache : caches_) cache->rewind(depth);
  }

  int longest(int depth) const {
    int most = 0;
    for (const auto& test : tests_) {
      if (test.depth != depth) continue;
      most = std::max({most, test.prompt, test.generate + 1});
    }
    return most;
  }

  double prompt_seconds(const BenchTest& test) {
    fill(1, test.depth);
    const auto ids = random_.take(test.prompt);
    Sampler sample({.temperature = options_.temperature});
    const auto start = Clock::now();
    TokenLoop(model_.decoder, sample, {{caches_.front().get(), 1}},
              prefill(model_.decoder, *caches_.front(), ids))
        .next(false);
    return seconds_since(start);
  }

  double generate_seconds(const BenchTest& test, int steps) {
    fill(test.batch, test.depth);
    Rows rows;
    for (const auto& cache : caches_) rows.push_back({cache.get(), 1});
    const auto ids = random_.take(test.batch);
    Sampler sample({.temperature = options_.temperature});
    const auto start = Clock::now();
    const mx::array first(ids.begin(), {test.batch}, mx::int32);
    TokenLoop loop(model_.decoder, sample, rows,
                   model_.decoder.forward(first, rows));
    for (int step = 1; step <= steps; ++step) loop.next(step < steps);
    return seconds_since(start);
  }

  void measure(BenchResult& result) {
    const auto& test = result.test;
    const auto label = name_of(test);
    const double each = expected_seconds(result) / options_.repetitions;
    mx::clear_cache();
    reset_peak_memory();
    if (test.depth > 0) {
      watch_.enter(Phase::prompt, concat("filling to depth ", test.depth));
    }
    fill(test.batch, test.depth);
    watch_.enter(test.prompt > 0 ? Phase::prompt : Phase::generate, label);
    std::vector<double> rates;
    if (test.prompt > 0) {
      prompt_seconds(test);
    } else {
      constexpr int kWarmUpSteps = 2;
      generate_seconds(test, std::min(kWarmUpSteps, test.generate));
    }
    for (int i = 0; i < options_.repetitions; ++i) {
      const double seconds = test.prompt > 0
                                 ? prompt_seconds(test)
                                 : generate_seconds(test, test.generate);
      rates.push_back(tokens_of(test) / seconds);
      watch_.finish(each);
    }
    result.repetitions = options_.repetitions;
    result.temperature = options_.temperature;
    result.tokens_per_second = spread_of(std::move(rates));
    result.peak_memory_bytes = peak_memory_bytes();
  }

  const LoadedModel& model_;
  const std::vector<BenchTest> tests_;
  const BenchOptions& options_;
  Watch& watch_;
  RandomTokens random_;
  ModelCost cost_;
  Caches caches_;
  int depth_ = 0;
};

/// Of the caches that are there at a time.
std::int64_t tokens_in_caches(const std::vector<BenchTest>& tests) {
  std::int64_t most = 0;
  for (const auto& test : tests) {
    const auto each =
        std::int64_t{test.depth} + std::max(test.prompt, test.generate + 1);
    most = std::max(most, each * test.batch);
  }
  return most;
}

/// Gives each result what the GPU did during it.
void add_gpu_use(const Activity& activity, std::vector<BenchResult>& results) {
  auto result = results.begin();
  for (const auto& span : activity.spans) {
    if (result == results.end()) return;
    if (span.label != name_of(result->test)) continue;
    result->gpu = gpu_during(activity, span);
    ++result;
  }
}

Watch::Record record_of(const BenchOptions& options, Processor processor) {
  if (processor == Processor::cuda) return Watch::Record::machine_and_gpu;
  return options.record_activity ? Watch::Record::machine
                                 : Watch::Record::nothing;
}

void add_usual_limits(const std::vector<int>& threads, MachineLimits& machine) {
  for (const double bytes : usual_working_sets()) {
    if (machine.gpu) {
      add_bandwidth(*machine.gpu, bytes);
      continue;
    }
    for (const int count : threads) add_bandwidth(machine, bytes, count);
  }
}

/// What readers of the figures should know.
void add_notices(const BenchOptions& options, BenchReport& report) {
  const int context = report.model.context_length;
  int longest = 0;
  for (const auto& result : report.results) {
    const auto& test = result.test;
    longest = std::max(longest, test.depth + test.prompt + test.generate);
  }
  if (context > 0 && longest > context) {
    report.notices.push_back(
        concat("tests reach ", longest, " tokens, and the model's context is ",
               context, ": the speed is real, the predictions are not"));
  }
  if (options.repetitions == 1) {
    report.notices.push_back(
        "one repetition each; -r 5 would show how far to trust it");
  }
}

}  // namespace

BenchReport run_bench(const std::filesystem::path& path,
                      const LoadOptions& load_options,
                      const BenchOptions& options,
                      const BenchProgressFn& on_progress) {
  std::map<int, std::vector<BenchTest>> tests;
  std::vector<int> order;
  for (const auto& test : tests_of(options)) {
    auto& same = tests[test.threads];
    if (same.empty()) order.push_back(test.threads);
    same.push_back(test);
  }
  BenchReport report;
  report.path = path.string();
  report.machine = this_machine();
  const auto processor =
      resolve_processor(load_options.device,
                        read_model_config(*Checkpoint::open(path)))
          .processor;
  if (processor == Processor::cuda) report.machine.gpu = this_gpu();
  Watch watch(on_progress, record_of(options, processor));
  for (const int threads : order) {
    watch.enter(Phase::load, "load");
    auto with_threads = load_options;
    with_threads.threads = threads;
    with_threads.expected_tokens = tokens_in_caches(tests.at(threads));
    const auto model = load_model(path, with_threads);
    const DeviceScope scope(array_device(model.processor));
    report.model = model.info;
    report.notices = model.notices;
    ModelBench(model, tests.at(threads), options, watch).run(report);
  }
  if (options.usual_limits && processor != Processor::mlx) {
    watch.enter(Phase::limits, "limits of the machine");
    add_usual_limits(order, report.machine);
  }
  auto activity = watch.stop();
  add_gpu_use(activity, report.results);
  if (options.record_activity) report.activity = std::move(activity);
  add_notices(options, report);
  return report;
}

BenchReport run_limits(const std::vector<int>& threads, Device device,
                       const BenchProgressFn& on_progress) {
  BenchReport report;
  report.machine = this_machine();
  auto& gpu = report.machine.gpu;
  if (resolve_processor(device) == Processor::cuda) gpu = this_gpu();
  std::vector<int> counts = {1};
  for (const int count : threads) {
    counts.push_back(count > 0 ? count : report.machine.threads);
  }
  std::ranges::sort(counts);
  // std::ranges::unique() returns what clang 14 cannot compile.
  counts.erase(std::unique(counts.begin(), counts.end()), counts.end());
  const auto sets = usual_working_sets();
  const double steps =
      double((counts.size() + (gpu ? 1 : 0)) * (sets.size() + 1));
  double done = 0;
  const auto tell = [&](const std::string& label) {
    if (on_progress) on_progress({Phase::limits, label, done++ / steps});
  };
  for (const int count : counts) {
    tell("arithmetic");
    add_peaks(report.machine, count);
    for (const double bytes : sets) {
      tell("reading memory");
      add_bandwidth(report.machine, bytes, count);
    }
  }
  if (!gpu) return report;
  tell("arithmetic of the GPU");
  add_peaks(*gpu);
  for (const double bytes : sets) {
    tell("reading the GPU's memory");
    add_bandwidth(*gpu, bytes);
  }
  return report;
}

}  // namespace llamlx
