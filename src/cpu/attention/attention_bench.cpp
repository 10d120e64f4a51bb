#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "base/concat.h"
#include "base/thread_pool.h"
#include "cpu/attention/attention.h"
#include "cpu/limits/bench_limits.h"

// Attention of a whole model's layers by the threads of a pool. Decoding is
// compared with the same threads only reading as many bytes, prefill with
// their multiply-adds of float32 in registers.
//
//   llamlx_cpu_bench --benchmark_filter='attention/decode/.*/threads:2'
namespace llamlx {
namespace {

struct Free {
  void operator()(void* p) const {
    ::operator delete (p, std::align_val_t{4096});
  }
};
using Memory = std::unique_ptr<void, Free>;

Memory memory_of(std::size_t bytes) {
  Memory memory(::operator new (bytes + 64, std::align_val_t{4096}));
  std::memset(memory.get(), 0, bytes + 64);
  return memory;
}

double now() {
  return std::chrono::duration<double>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

/// A model's attention: what is in its cache, and rows that look at a head.
struct Task {
  std::string name;
  int layers;
  int heads;  // of keys and values
  int head_dim;
  int rows;
  int positions;
  int part;  // positions of one piece of work
  ValueType type;
  ValueType compute;
};

/// The heads of all layers, and what one pass over them needs.
class Heads {
 public:
  Heads(const Task& task, int threads)
      : task_(task),
        kernel_(attention_kernel(task.type, task.head_dim, task.compute,
                                 task.rows)),
        pool_(threads),
        q_(size(task.rows * task.head_dim), 0.01f),
        first_(size(task.rows), 0),
        end_(size(task.rows), task.positions),
        scratch_bytes_((kernel_.scratch_bytes(task.head_dim, task.rows) + 63) /
                       64 * 64),
        scratch_(memory_of(scratch_bytes_ * size(threads))) {
    const auto keys = kv_keys_bytes(task.type, task.head_dim, task.positions);
    const auto values =
        kv_values_bytes(task.type, task.head_dim, task.positions);
    bytes_ = size(task.layers * task.heads) * (keys + values);
    cache_ = memory_of(bytes_);
    auto* at = static_cast<std::byte*>(cache_.get());
    const std::vector<float> one(size(task.head_dim), 1);
    for (int i = 0; i < task.layers * task.heads; ++i) {
      heads_.push_back(
          {task.type, task.head_dim, task.positions, at, at + keys});
      at += keys + values;
      for (int j = 0; j < task.positions; ++j) {
        kernel_.append(heads_.back(), j, 1, one.data(), one.data(), 0);
      }
    }
    const auto pieces = size(task.heads * (task.positions / task.part));
    out_.resize(pieces * q_.size());
    largest_.resize(pieces * size(task.rows));
    sum_.resize(pieces * size(task.rows));
  }

  void attend_all() {
    pool_.run([this](Worker& worker) {
      auto* scratch = static_cast<std::byte*>(scratch_.get()) +
                      scratch_bytes_ * size(worker.index());
      const int parts = task_.positions / task_.part;
      for (int layer = 0; layer < task_.layers; ++layer) {
        for (int i; (i = worker.next_task()) < task_.heads * parts;) {
          const auto rows = std::ptrdiff_t{i} * task_.rows;
          const int begin = i % parts * task_.part;
          kernel_.attend(heads_[size(layer * task_.heads + i / parts)],
                         {q_.data(), task_.head_dim, task_.rows, first_.data(),
                          end_.data()},
                         begin, begin + task_.part, scratch,
                         {out_.data() + size(i) * q_.size(), task_.head_dim,
                          largest_.data() + rows, sum_.data() + rows});
        }
        worker.barrier();
      }
    });
  }

  double read_limit() {
    return 1e9 *
           measure_read_bandwidth(bytes_, pool_, Pages::small).best_gb_per_s;
  }

  double bytes() const { return static_cast<double>(bytes_); }
  double flops() const {
    return 4.0 * task_.rows * task_.positions * task_.head_dim *
           static_cast<double>(heads_.size());
  }
  ThreadPool& pool() { return pool_; }
  const AttentionKernel& kernel() const { return kernel_; }

 private:
  static std::size_t size(int n) { return static_cast<std::size_t>(n); }

  Task task_;
  const AttentionKernel& kernel_;
  ThreadPool pool_;
  std::vector<float> q_;
  std::vector<int> first_;
  std::vector<int> end_;
  std::size_t scratch_bytes_;
  Memory scratch_;
  std::size_t bytes_ = 0;
  Memory cache_;
  std::vector<KVHead> heads_;
  std::vector<float> out_;
  std::vector<float> largest_;
  std::vector<float> sum_;
};

void run_task(benchmark::State& state, const Task& task, int threads) {
  Heads heads(task, threads);
  const double read_limit = heads.read_limit();
  const double flops_of_fma =
      1e9 * unit_peak("float32", active_isa(), heads.pool());
  double best = 1e9;
  for (auto _ : state) {
    const double start = now();
    heads.attend_all();
    best = std::min(best, now() - start);
  }
  state.SetLabel(std::string(heads.kernel().name));
  state.counters["best_ms"] = best * 1e3;
  state.counters["GB/s"] = heads.bytes() / best * 1e-9;
  state.counters["share_of_reading"] = heads.bytes() / best / read_limit;
  state.counters["GFLOP/s"] = heads.flops() / best * 1e-9;
  state.counters["share_of_fma"] = heads.flops() / best / flops_of_fma;
}

bool register_all() {
  constexpr auto kF32 = ValueType::f32;
  constexpr auto kBf16 = ValueType::bf16;
  const std::vector<Task> tasks{
      {"decode/1.1B/8192", 22, 4, 64, 8, 8192, 256, kBf16, kBf16},
      {"decode/1.1B/8192/part:1024", 22, 4, 64, 8, 8192, 1024, kBf16, kBf16},
      {"decode/1.1B/8192/exact", 22, 4, 64, 8, 8192, 1024, kBf16, kF32},
      {"decode/1.1B/1024", 22, 4, 64, 8, 1024, 256, kBf16, kBf16},
      {"decode/SmolLM2/8192", 30, 3, 64, 3, 8192, 1024, kBf16, kBf16},
      {"decode/7B/2048", 4, 32, 128, 1, 2048, 1024, kBf16, kBf16},
      {"prefill/64x2048/head:64/f32", 1, 4, 64, 64, 2048, 2048, kF32, kF32},
      {"prefill/64x2048/head:64/bf16", 1, 4, 64, 64, 2048, 2048, kBf16, kF32},
      {"prefill/64x2048/head:64/rounded", 1, 4, 64, 64, 2048, 2048, kBf16,
       kBf16},
      {"prefill/64x2048/head:128/f32", 1, 4, 128, 64, 2048, 2048, kF32, kF32},
      {"prefill/64x2048/head:128/rounded", 1, 4, 128, 64, 2048, 2048, kBf16,
       kBf16},
      {"prefill/64x32768/head:64/f32", 1, 4, 64, 64, 32768, 32768, kF32, kF32},
      {"prefill/64x32768/head:64/rounded", 1, 4, 64, 64, 32768, 32768, kBf16,
       kBf16}};
  for (const auto& task : tasks) {
    for (const int threads : {1, 2}) {
      benchmark::RegisterBenchmark(
          concat("attention/", task.name, "/threads:", threads).c_str(),
          [=](benchmark::State& state) { run_task(state, task, threads); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
    }
  }
  return true;
}

[[maybe_unused]] const bool kRegistered = register_all();

}  // namespace
}  // namespace llamlx
