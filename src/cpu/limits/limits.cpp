#include "cpu/limits/limits.h"

#include <algorithm>
#include <chrono>
#include <functional>

#include <sys/mman.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "base/spread.h"
#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

struct IsaKernels {
  Isa isa;
  const LimitKernels* kernels;
};

constexpr IsaKernels kKernels[] = {
    {Isa::scalar, &kLimitsScalar},
#if defined(__x86_64__)
    {Isa::avx2, &kLimitsAvx2},
    {Isa::avx512, &kLimitsAvx512},
    {Isa::avx512_vnni, &kLimitsAvx512Vnni},
    {Isa::avx512_bf16, &kLimitsAvx512Bf16},
    {Isa::amx, &kLimitsAmx},
#elif defined(__aarch64__)
    {Isa::neon, &kLimitsNeon},
    {Isa::neon_dotprod, &kLimitsNeonDotprod},
    {Isa::neon_i8mm, &kLimitsNeonI8mm},
    {Isa::neon_bf16, &kLimitsNeonBf16},
#endif
};

using SumFn = decltype(LimitKernels::sum);

/// The sum by the last instruction set up to `isa` that has one.
SumFn sum_of(Isa isa) {
  SumFn sum = kLimitsScalar.sum;
  for (const auto& row : kKernels) {
    if (row.isa <= isa && row.kernels->sum != nullptr) sum = row.kernels->sum;
  }
  return sum;
}

/// Seconds that `pass` takes, over and over for about `seconds`, after one
/// pass that does not count.
std::vector<double> time_passes(double seconds,
                                const std::function<void()>& pass) {
  using Clock = std::chrono::steady_clock;
  constexpr std::size_t kFewest = 3;
  pass();
  std::vector<double> times;
  const auto begin = Clock::now();
  for (auto now = begin;
       times.size() < kFewest ||
       std::chrono::duration<double>(now - begin).count() < seconds;) {
    pass();
    const auto end = Clock::now();
    times.push_back(std::chrono::duration<double>(end - now).count());
    now = end;
  }
  return times;
}

/// Memory fresh from the system, whose pages are those of the thread that
/// writes them first.
class FreshMemory {
 public:
  FreshMemory(std::size_t bytes, Pages pages)
      : bytes_(bytes + kHugePage),
        memory_(::mmap(nullptr, bytes_, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)) {
    if (memory_ == MAP_FAILED) {
      fail(ErrorCode::out_of_memory, "the measurement of memory",
           concat("the system gives no ", human_size(bytes)),
           "end other programs");
    }
#if defined(__linux__)
    ::madvise(memory_, bytes_,
              pages == Pages::huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
#else
    static_cast<void>(pages);
#endif
  }
  FreshMemory(const FreshMemory&) = delete;
  FreshMemory& operator=(const FreshMemory&) = delete;
  ~FreshMemory() { ::munmap(memory_, bytes_); }

  /// Begins at a huge page.
  std::uint64_t* data() const {
    const auto address = reinterpret_cast<std::uintptr_t>(memory_);
    const auto skipped = (kHugePage - address % kHugePage) % kHugePage;
    return reinterpret_cast<std::uint64_t*>(static_cast<char*>(memory_) +
                                            skipped);
  }

 private:
  static constexpr std::size_t kHugePage = std::size_t{2} << 20;

  std::size_t bytes_;
  void* memory_;
};

/// Rounds that take a thread long enough for the clock and the start of the
/// others not to count.
std::int64_t rounds_of(const UnitKernel& unit, double seconds) {
  std::int64_t rounds = 1 << 10;
  while (true) {
    const auto times = time_passes(0, [&] { unit.run(rounds); });
    if (spread_of(times).min >= seconds) return rounds;
    rounds *= 2;
  }
}

}  // namespace

std::uint64_t sum_words(Isa isa, const std::uint64_t* data, std::size_t words) {
  return sum_of(isa)(data, words);
}

ReadBandwidth measure_read_bandwidth(std::size_t bytes, ThreadPool& pool,
                                     Pages pages, double seconds) {
  // A pass over a small set is too short for the clock: it is read repeatedly.
  constexpr std::size_t kPassBytes = std::size_t{16} << 20;
  const auto threads = static_cast<std::size_t>(pool.size());
  const auto blocks = std::max<std::size_t>(
      1, (bytes / sizeof(std::uint64_t) + threads * kSumWords - 1) /
             (threads * kSumWords));
  const auto words = blocks * kSumWords;  // of each thread
  const auto total = words * threads * sizeof(std::uint64_t);
  const auto repeats = std::max<std::size_t>(1, kPassBytes / total);
  const FreshMemory memory(total, pages);
  const auto part = [&](const Worker& worker) {
    return memory.data() + words * static_cast<std::size_t>(worker.index());
  };
  pool.run([&](Worker& worker) { std::fill_n(part(worker), words, 1); });
  const auto sum = sum_of(active_isa());
  std::atomic<std::uint64_t> result = 0;  // so that the sums are needed
  const auto times = time_passes(seconds, [&] {
    pool.run([&](Worker& worker) {
      std::uint64_t all = 0;
      for (std::size_t i = 0; i < repeats; ++i) all += sum(part(worker), words);
      result += all;
    });
  });
  const auto spread = spread_of(times);
  const double gigabytes = static_cast<double>(total * repeats) / 1e9;
  return {total, pool.size(), pages, gigabytes / spread.min,
          gigabytes / spread.median};
}

std::vector<UnitPeak> measure_unit_peaks(ThreadPool& pool, double seconds) {
  constexpr int kPasses = 8;
  std::vector<UnitPeak> peaks;
  for (const auto& [isa, kernels] : kKernels) {
    if (isa > active_isa()) continue;
    for (const auto& unit : kernels->units) {
      if (unit.type == nullptr) continue;
      const auto rounds = rounds_of(unit, seconds / kPasses / 2);
      const auto times = time_passes(
          seconds, [&] { pool.run([&](Worker&) { unit.run(rounds); }); });
      const auto spread = spread_of(times);
      const double operations =
          unit.operations * static_cast<double>(rounds) * pool.size() / 1e9;
      peaks.push_back({isa, unit.type, pool.size(), operations / spread.min,
                       operations / spread.median});
    }
  }
  return peaks;
}

}  // namespace llamlx
