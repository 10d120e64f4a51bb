#include "cuda/limits/limits.h"

#include <algorithm>

#include "base/clock.h"
#include "base/spread.h"
#include "cuda/device.h"
#include "cuda/graph.h"
#include "cuda/kernel.h"
#include "cuda/limits/multiply.h"
#include "cuda/limits/read.h"
#include "cuda/memory.h"
#include "cuda/modules.h"

namespace llamlx {
namespace {

double timed(Stream& stream, Graph& graph) {
  Event from(EventTiming::on);
  Event to(EventTiming::on);
  from.record(stream);
  graph.launch(stream);
  to.record(stream);
  to.synchronize();
  return elapsed_ms(from, to) / 1e3;
}

/// The seconds that what `launch` puts into the stream takes, where `chain` of
/// it follow each other: the beginning of each lies beside the end of the one
/// before.
template <typename Launch>
Spread time_chains(Stream& stream, int chain, double seconds,
                   const Launch& launch) {
  constexpr std::size_t kFewest = 3;
  launch();
  auto graph = Graph::capture(stream, [&] {
    for (int i = 0; i < chain; ++i) launch();
  });
  timed(stream, graph);
  std::vector<double> times;
  const auto start = Clock::now();
  while (times.size() < kFewest || seconds_since(start) < seconds) {
    times.push_back(timed(stream, graph) / chain);
  }
  return spread_of(std::move(times));
}

/// Kernels that multiply, and how.
struct MultiplyKernel {
  std::string_view unit;
  std::string_view name;
  unsigned blocks;  ///< on a multiprocessor
  unsigned shared_bytes;
  double operations;  ///< of a block, a step
};

constexpr double kWarps = cuda::kMultiplyThreads / 32.0;
constexpr MultiplyKernel kMma{"mma", "multiply_mma", 2, 0,
                              kWarps* cuda::kMmaAtOnce* cuda::kMmaOperations};
constexpr MultiplyKernel kWarpgroups{"wgmma", "multiply_warpgroups", 1,
                                     cuda::kMultiplySharedBytes,
                                     kWarps / 4 * cuda::kWarpgroupOperations};

GpuPeak measure_peak(const MultiplyKernel& unit, double seconds) {
  Stream stream;
  const DeviceBuffer sink(sizeof(float));
  const auto& kernel = cuda_kernel("limits/multiply", unit.name);
  const auto blocks =
      unit.blocks * static_cast<unsigned>(cuda_device().multiprocessors);
  cuda::MultiplyArgs args{1, sink.as<float>()};
  const auto put_in = [&] {
    launch(stream, kernel,
           {.grid_x = blocks,
            .block = cuda::kMultiplyThreads,
            .shared_bytes = unit.shared_bytes},
           args);
  };
  // Steps that take long enough for the launch not to count.
  constexpr double kLongEnough = 1e-3;
  while (time_chains(stream, 1, 0, put_in).min < kLongEnough) args.steps *= 2;
  const auto time = time_chains(stream, 1, seconds, put_in);
  const double operations = unit.operations * blocks * args.steps / 1e9;
  return {unit.unit, "float16", operations / time.min,
          operations / time.median};
}

}  // namespace

GpuReadBandwidth measure_gpu_read_bandwidth(std::size_t bytes, double seconds) {
  const auto words = std::max<std::size_t>(1, (bytes + 15) / 16);
  Stream stream;
  const DeviceBuffer memory(words * sizeof(cuda::Words4));
  const DeviceBuffer sink(sizeof(std::uint32_t));
  fill_zero(stream, memory.data(), memory.bytes());
  const auto& kernel = cuda_kernel("limits/read", "read_memory");
  constexpr int kChain = 16;
  const auto time = time_chains(stream, kChain, seconds, [&] {
    launch(stream, kernel,
           {.grid_x = 2 * static_cast<unsigned>(cuda_device().multiprocessors),
            .block = cuda::kReadThreads},
           cuda::ReadArgs{memory.as<const cuda::Words4>(),
                          static_cast<long long>(words),
                          sink.as<std::uint32_t>()});
  });
  const double gigabytes = static_cast<double>(memory.bytes()) / 1e9;
  return {memory.bytes(), gigabytes / time.min, gigabytes / time.median};
}

std::vector<GpuPeak> measure_gpu_peaks(double seconds) {
  std::vector<GpuPeak> peaks;
  if (has_warpgroups(cuda_device())) {
    peaks.push_back(measure_peak(kWarpgroups, seconds));
  }
  peaks.push_back(measure_peak(kMma, seconds));
  return peaks;
}

}  // namespace llamlx
