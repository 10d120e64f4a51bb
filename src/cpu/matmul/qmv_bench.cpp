#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <new>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include <benchmark/benchmark.h>
#include <sys/mman.h>

#include "base/concat.h"
#include "base/thread_pool.h"
#include "cpu/limits/limits.h"
#include "cpu/matmul/registry.h"
#include "cpu/packed_bf16/packed_bf16.h"

// All the products of a token by the weights of a whole model, by the threads
// of a pool that meet after each: GB of weights a second, and as a share of
// what the same threads reach when they only add up as many bytes.
//
//   llamlx_cpu_bench --benchmark_filter='1.1B/4bit_g64_bf16/rows:1/threads:2'
//
// LLAMLX_BENCH_HUGE_PAGES=1 puts weights on huge pages.
namespace llamlx {
namespace {

struct Shape {
  int rows;
  int cols;
};

struct Model {
  std::string name;
  std::vector<Shape> layer;
  int layers;
  Shape head;
};

const std::vector<Model>& models() {
  static const std::vector<Model> models{
      {"1.1B",
       {{2048, 2048},
        {256, 2048},
        {256, 2048},
        {2048, 2048},
        {5632, 2048},
        {5632, 2048},
        {2048, 5632}},
       22,
       {32000, 2048}},
      {"SmolLM2",
       {{576, 576},
        {192, 576},
        {192, 576},
        {576, 576},
        {1536, 576},
        {1536, 576},
        {576, 1536}},
       30,
       {49152, 576}},
      // What a core multiplies when it need not wait for memory.
      {"cached", {{128, 2048}}, 1, {256, 2048}}};
  return models;
}

std::vector<Shape> shapes_of(const Model& model) {
  std::vector<Shape> shapes;
  for (int i = 0; i < model.layers; ++i) {
    shapes.insert(shapes.end(), model.layer.begin(), model.layer.end());
  }
  shapes.push_back(model.head);
  return shapes;
}

bool wants_huge_pages() {
  return std::getenv("LLAMLX_BENCH_HUGE_PAGES") != nullptr;
}

class MappedPages {
 public:
  explicit MappedPages(std::size_t bytes) : bytes_(bytes) {
    void* memory = ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::bad_alloc();
    ::madvise(memory, bytes,
              wants_huge_pages() ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
    data_ = static_cast<std::byte*>(memory);
  }
  MappedPages(const MappedPages&) = delete;
  MappedPages& operator=(const MappedPages&) = delete;
  ~MappedPages() { ::munmap(data_, bytes_); }

  std::byte* data() const { return data_; }
  std::size_t size() const { return bytes_; }

 private:
  std::byte* data_;
  std::size_t bytes_;
};

struct Weights {
  std::unique_ptr<MappedPages> pages;
  std::vector<WeightView> views;
  std::vector<std::unique_ptr<const PackedBf16>> packed = {};
};

std::size_t bytes_of(const WeightFormat& format, const Shape& shape,
                     std::size_t* scale_bytes) {
  const WeightView view{format,  shape.rows, shape.cols,
                        nullptr, nullptr,    nullptr};
  const auto rows = static_cast<std::size_t>(shape.rows);
  *scale_bytes =
      format.group_size == 0
          ? 0
          : rows * static_cast<std::size_t>(shape.cols / format.group_size) *
                size_of(format.values);
  return rows * view.row_bytes();
}

// Every tensor begins at a multiple of 64, as in a file of an aligned format.
Weights weights_of(const Model& model, const WeightFormat& format) {
  constexpr auto kAligned = [](std::size_t bytes) {
    return (bytes + 63) / 64 * 64;
  };
  std::size_t total = 0;
  std::size_t scales = 0;
  const auto shapes = shapes_of(model);
  for (const auto& shape : shapes) {
    total += kAligned(bytes_of(format, shape, &scales));
    total += 2 * kAligned(scales);
  }
  Weights weights{std::make_unique<MappedPages>(total), {}};
  // The same small positive number for everything that is a float: speed does
  // not depend on values that are normal.
  std::byte* at = weights.pages->data();
  const auto fill = [&](std::size_t bytes, bool is_codes) {
    std::byte* begin = at;
    constexpr std::uint16_t kSmall = 0x3c23;  // in all three types
    for (std::size_t i = 0; i + 1 < bytes; i += 2) {
      const auto half =
          is_codes ? static_cast<std::uint16_t>(i * 40503u) : kSmall;
      std::memcpy(begin + i, &half, 2);
    }
    at += kAligned(bytes);
    return begin;
  };
  for (const auto& shape : shapes) {
    const auto bytes = bytes_of(format, shape, &scales);
    WeightView view{format, shape.rows, shape.cols, nullptr, nullptr, nullptr};
    view.data = fill(bytes, format.bits != 0);
    if (format.bits != 0) {
      view.scales = fill(scales, false);
      view.biases = fill(scales, false);
    }
    weights.views.push_back(view);
  }
  return weights;
}

// What packs well or badly is a matter of values: these are a model's.
Weights packed_weights_of(const Model& model, ThreadPool& pool) {
  std::map<std::pair<int, int>, std::vector<std::uint16_t>> values;
  std::size_t total = 0;
  std::size_t scales = 0;
  for (const auto& shape : shapes_of(model)) {
    total += bytes_of(kPackedBf16, shape, &scales);
    auto& made = values[{shape.rows, shape.cols}];
    if (!made.empty()) continue;
    std::mt19937 random(1);
    std::normal_distribution<float> normal(0, 0.02f);
    made.resize(static_cast<std::size_t>(shape.rows) *
                static_cast<std::size_t>(shape.cols));
    for (auto& value : made) {
      const auto bits = std::bit_cast<std::uint32_t>(normal(random));
      value = static_cast<std::uint16_t>(bits >> 16);
    }
  }
  Weights weights{std::make_unique<MappedPages>(total), {}};
  std::byte* at = weights.pages->data();
  for (const auto& shape : shapes_of(model)) {
    const WeightView dense{{ValueType::bf16, 0, 0},
                           shape.rows,
                           shape.cols,
                           values.at({shape.rows, shape.cols}).data(),
                           nullptr,
                           nullptr};
    weights.packed.push_back(PackedBf16::pack(dense, pool, at));
    weights.views.push_back(weights.packed.back()->view());
    at += PackedBf16::band_bytes(dense);
  }
  return weights;
}

double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The rows of a weight that a worker multiplies: one run of them.
WeightRun run_of(const WeightView& w, int row_step, const Worker& worker) {
  const int share = (w.rows + worker.count() - 1) / worker.count();
  const int step = (share + row_step - 1) / row_step * row_step;
  const int begin = std::min(worker.index() * step, w.rows);
  return {begin, std::min(begin + step, w.rows)};
}

void multiply_all(const Weights& weights, const MatmulKernel& kernel, int rows,
                  const std::map<int, std::byte*>& prepared, float* y,
                  Worker& worker) {
  for (std::size_t i = 0; i < weights.views.size(); ++i) {
    const auto& w = weights.views[i];
    const auto& next = weights.views[(i + 1) % weights.views.size()];
    auto run = run_of(w, kernel.row_step, worker);
    run.next = start_of(next, run_of(next, kernel.row_step, worker).begin);
    if (run.begin < run.end) {
      kernel.multiply(w, prepared.at(w.cols), rows, run, nullptr, y + run.begin,
                      w.rows);
    }
    worker.barrier();
  }
}

void run_model(benchmark::State& state, const Model& model,
               const WeightFormat& format, ValueType compute, int rows,
               int threads, const MatmulKernel* kernel) {
  ThreadPool pool(threads);
  const auto weights = format == kPackedBf16 ? packed_weights_of(model, pool)
                                             : weights_of(model, format);
  if (kernel == nullptr) {
    kernel = &matmul_kernel(format, model.layer[0].cols, compute, rows);
  }
  std::map<int, std::vector<std::byte>> memory;
  std::map<int, std::byte*> prepared;
  int widest = 0;
  for (const auto& w : weights.views) {
    widest = std::max(widest, w.rows);
    if (prepared.count(w.cols) != 0) continue;
    const std::vector<float> x(
        static_cast<std::size_t>(rows) * static_cast<std::size_t>(w.cols), 1);
    auto& bytes = memory[w.cols];
    bytes.resize(kernel->prepared_bytes(format, rows, w.cols) + 64);
    const auto address = reinterpret_cast<std::uintptr_t>(bytes.data());
    prepared[w.cols] = bytes.data() + (64 - address % 64);
    kernel->prepare(format, x.data(), w.cols, rows, w.cols, 0, rows,
                    prepared[w.cols]);
  }
  std::vector<float> y(static_cast<std::size_t>(rows) *
                       static_cast<std::size_t>(widest));
  const auto limit =
      measure_read_bandwidth(weights.pages->size(), pool,
                             wants_huge_pages() ? Pages::huge : Pages::small);
  double best = 1e9;
  for (auto _ : state) {
    const double start = now();
    pool.run([&](Worker& worker) {
      multiply_all(weights, *kernel, rows, prepared, y.data(), worker);
    });
    best = std::min(best, now() - start);
  }
  const auto bytes = static_cast<double>(weights.pages->size());
  state.SetLabel(std::string(kernel->name));
  state.counters["best_ms"] = best * 1e3;
  state.counters["GB/s"] = bytes / best * 1e-9;
  state.counters["limit_GB/s"] = limit.best_gb_per_s;
  state.counters["share"] = bytes / best * 1e-9 / limit.best_gb_per_s;
}

std::string name_of(const WeightFormat& format) {
  if (format == kPackedBf16) return "packed_bf16";
  const char* type = format.values == ValueType::f32   ? "f32"
                     : format.values == ValueType::f16 ? "f16"
                                                       : "bf16";
  if (format.bits == 0) return type;
  return concat(format.bits, "bit_g", format.group_size, "_", type);
}

std::vector<WeightFormat> formats() {
  std::vector<WeightFormat> formats{kPackedBf16};
  for (const auto values : {ValueType::bf16, ValueType::f16, ValueType::f32}) {
    formats.push_back({values, 0, 0});
    for (const int bits : {4, 8, 2, 3, 5, 6}) {
      for (const int group : {64, 32, 128}) {
        formats.push_back({values, bits, group});
      }
    }
  }
  return formats;
}

void register_all() {
  for (const auto& model : models()) {
    for (const auto& format : formats()) {
      for (const auto compute : {ValueType::bf16, ValueType::f32}) {
        for (const int rows : {1, 2, 4, 8}) {
          for (const int threads : {1, 2}) {
            benchmark::RegisterBenchmark(
                concat(model.name, "/", name_of(format), "/",
                       compute == ValueType::f32 ? "exact" : "rounded",
                       "/rows:", rows, "/threads:", threads)
                    .c_str(),
                [=, &model](benchmark::State& state) {
                  run_model(state, model, format, compute, rows, threads,
                            nullptr);
                })
                ->Unit(benchmark::kMillisecond)
                ->UseRealTime();
          }
        }
      }
    }
  }
}

}  // namespace
}  // namespace llamlx

int main(int argc, char** argv) {
  llamlx::register_all();
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  return 0;
}
