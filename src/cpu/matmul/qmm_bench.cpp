#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <new>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/concat.h"
#include "base/thread_pool.h"
#include "cpu/limits/bench_limits.h"
#include "cpu/matmul/matmul.h"

// 512 rows times one weight by every kernel for many rows, preparing and
// unpacking included: GFLOP/s, and as a share of what the same threads reach
// when the kernel's unit only multiplies and adds in registers.
//
//   llamlx_cpu_bench --benchmark_filter='qmm_avx512/.*4bit.*threads:2'
namespace llamlx {
namespace {

// x and y of 512 rows in this many rows of w stay in a second cache of 1 MiB.
constexpr int kRange = 64;
constexpr int kRows = 512;

struct Shape {
  const char* name;
  int rows;
  int cols;
};

class Memory {
 public:
  explicit Memory(std::size_t bytes)
      : data_(::operator new (bytes + 1, std::align_val_t{64})) {}
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { ::operator delete (data_, std::align_val_t{64}); }
  void* data() const { return data_; }

 private:
  void* data_;
};

// Random codes, and scales and biases that are small in any type.
struct Weight {
  std::vector<std::uint32_t> data;
  std::vector<std::uint32_t> scales;
  WeightView view{};

  Weight(const WeightFormat& format, const Shape& shape) {
    view = {format, shape.rows, shape.cols, nullptr, nullptr, nullptr};
    std::mt19937 random(1);
    data.resize(view.row_bytes() * static_cast<std::size_t>(shape.rows) / 4);
    // As floats of 16 or 32 bits, those without the highest exponents.
    const std::uint32_t kept = format.bits == 0 ? 0xbfffbfffu : ~0u;
    for (auto& word : data) word = static_cast<std::uint32_t>(random()) & kept;
    scales.assign(static_cast<std::size_t>(shape.rows) *
                      static_cast<std::size_t>(shape.cols) / 32,
                  0x3c233c23u);
    view.data = data.data();
    view.scales = scales.data();
    view.biases = scales.data();
  }
};

void run(benchmark::State& state, const MatmulKernel& kernel,
         const WeightFormat& format, const Shape& shape, int threads) {
  if (!is_supported(kernel.isa)) {
    state.SkipWithError("not supported by this machine");
    return;
  }
  const Weight weight(format, shape);
  std::vector<float> x(static_cast<std::size_t>(kRows) *
                       static_cast<std::size_t>(shape.cols));
  std::mt19937 random(2);
  for (auto& value : x) value = static_cast<float>(random() % 1000) / 500 - 1;
  std::vector<float> y(static_cast<std::size_t>(kRows) *
                       static_cast<std::size_t>(shape.rows));
  ThreadPool pool(threads);
  const Memory prepared(kernel.prepared_bytes(format, kRows, shape.cols));
  const std::size_t scratch_bytes =
      (kernel.scratch_bytes(format, kRows, shape.cols) + 63) / 64 * 64;
  const Memory scratch(scratch_bytes * static_cast<std::size_t>(threads));
  double best = 1e9;
  for (auto _ : state) {
    const auto start = std::chrono::steady_clock::now();
    pool.run([&](Worker& worker) {
      for (int i; (i = worker.next_task()) * 16 < kRows;) {
        kernel.prepare(format, x.data(), shape.cols, kRows, shape.cols, i * 16,
                       i * 16 + 16, prepared.data());
      }
      worker.barrier();
      auto* own = static_cast<std::byte*>(scratch.data()) +
                  scratch_bytes * static_cast<std::size_t>(worker.index());
      for (int i; (i = worker.next_task()) * kRange < shape.rows;) {
        kernel.multiply(weight.view, prepared.data(), kRows,
                        {i * kRange, std::min(shape.rows, (i + 1) * kRange)},
                        own, y.data() + std::ptrdiff_t{i} * kRange, shape.rows);
      }
      worker.barrier();
    });
    const std::chrono::duration<double> took =
        std::chrono::steady_clock::now() - start;
    best = std::min(best, took.count());
  }
  const double work = 2e-9 * kRows * shape.rows * shape.cols;
  const bool pairs = !kernel.supports(format, shape.cols, ValueType::f32);
  state.counters["GFLOP/s"] = work / best;
  state.counters["share"] =
      work / best / unit_peak(pairs ? "bfloat16" : "float32", kernel.isa, pool);
}

int register_all() {
  static const std::vector<Shape> shapes{{"1.1B_up", 5632, 2048},
                                         {"1.1B_down", 2048, 5632},
                                         {"SmolLM2_up", 1536, 576}};
  static const std::vector<std::pair<std::string, WeightFormat>> formats{
      {"4bit_g64_bf16", {ValueType::bf16, 4, 64}},
      {"8bit_g64_bf16", {ValueType::bf16, 8, 64}},
      {"3bit_g64_f16", {ValueType::f16, 3, 64}},
      {"bf16", {ValueType::bf16, 0, 0}},
      {"f16", {ValueType::f16, 0, 0}},
      {"f32", {ValueType::f32, 0, 0}}};
  for (const auto* kernel : all_matmul_kernels()) {
    if (!kernel->name.starts_with("qmm")) continue;
    for (const auto& shape : shapes) {
      for (const auto& named : formats) {
        const auto& name = named.first;
        const auto& format = named.second;
        for (const int threads : {1, 2}) {
          benchmark::RegisterBenchmark(concat(kernel->name, "/", shape.name,
                                              "/", name, "/threads:", threads)
                                           .c_str(),
                                       [=, &shape](benchmark::State& state) {
                                         run(state, *kernel, format, shape,
                                             threads);
                                       })
              ->Unit(benchmark::kMillisecond)
              ->UseRealTime();
        }
      }
    }
  }
  return 0;
}

const int kRegistered = register_all();

}  // namespace
}  // namespace llamlx
