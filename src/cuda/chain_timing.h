#pragma once

#include <benchmark/benchmark.h>

#include "cuda/graph.h"
#include "cuda/stream.h"

/// How benchmarks time kernels: as chains of launches in one graph.
namespace llamlx {

/// Seconds of a launch, by replays of a graph of launch(0), launch(1), ...
/// launch(chain - 1).
template <typename Launch>
double seconds_each(Stream& stream, int chain, const Launch& launch) {
  const auto launch_all = [&] {
    for (int i = 0; i < chain; ++i) launch(i);
  };
  launch_all();
  auto graph = Graph::capture(stream, launch_all);
  graph.launch(stream);
  Event from(EventTiming::on);
  Event to(EventTiming::on);
  from.record(stream);
  graph.launch(stream);
  to.record(stream);
  to.synchronize();
  return elapsed_ms(from, to) / 1e3 / chain;
}

/// `operations`: 0 where they do not matter.
inline void report(benchmark::State& state, double bytes, double operations,
                   double seconds) {
  state.SetIterationTime(seconds);
  state.counters["us"] = seconds * 1e6;
  state.counters["GB/s"] = bytes / seconds / 1e9;
  if (operations > 0) {
    state.counters["TFLOP/s"] = operations / seconds / 1e12;
  }
}

}  // namespace llamlx
