// How fast experts multiply rows that are spread evenly over them, with weights
// that no cache holds, and how long it takes to choose them.
#include "cuda/experts/experts_bench.h"

#include <algorithm>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "cuda/chain_timing.h"
#include "cuda/device.h"
#include "cuda/experts/many_rows.h"
#include "cuda/experts/route.h"
#include "cuda/experts/some_rows.h"
#include "cuda/kernel.h"
#include "cuda/memory.h"

namespace llamlx {
namespace {

/// Launches that follow each other, in one graph.
constexpr int kChain = 20;

struct Experts {
  const char* name;
  int experts;
  int used;
  int hidden;
  int inner;
};

struct Format {
  const char* name;
  cuda::PackedLayout layout;
};

/// Memory that is zeros.
DeviceBuffer zeros(Stream& stream, std::size_t bytes) {
  DeviceBuffer buffer(std::max<std::size_t>(bytes, 16));
  fill_zero(stream, buffer.data(), buffer.bytes());
  return buffer;
}

/// Groups of every launch, which have other experts than the one before, as far
/// as there are others.
struct Groups {
  int count;
  DeviceBuffer groups;  // [kChain, count]
  DeviceBuffer counts;  // [1]
  DeviceBuffer rows_of;

  Groups(Stream& stream, const Experts& model, const cuda::Grouping& grouping)
      : count(std::min(model.experts, grouping.rows * model.used)),
        groups(sizeof(cuda::ExpertGroup) * kChain * count),
        counts(sizeof count),
        rows_of(zeros(stream, sizeof(int) * grouping.places())) {
    const int rows = grouping.has_all_rows()
                         ? grouping.rows
                         : grouping.rows * model.used / count;
    std::vector<cuda::ExpertGroup> all;
    for (int i = 0; i < kChain * count; ++i) {
      all.push_back({i % model.experts, i % count * rows, rows});
    }
    upload(stream, groups.data(), all.data(), groups.bytes());
    upload(stream, counts.data(), &count, sizeof count);
    stream.synchronize();
  }
  cuda::ExpertGroups of(int launch) const {
    return {groups.as<const cuda::ExpertGroup>() +
                static_cast<std::ptrdiff_t>(launch) * count,
            counts.as<const int>()};
  }
};

/// The gates of a layer, and who multiplies with them.
struct Gates {
  int row_blocks;
  int tiles;
  long long bytes;  // of an expert
  DeviceBuffer weights;

  Gates(Stream& stream, const Experts& model, const Format& format)
      : row_blocks(model.inner / 8),
        tiles(model.hidden / cuda::kTileCols),
        bytes(static_cast<long long>(row_blocks) * tiles *
              cuda::tile_bytes(format.layout)),
        weights(
            zeros(stream, static_cast<std::size_t>(bytes * model.experts))) {}
  cuda::ManyRowsArgs args(const Experts& model, const DeviceBuffer& x,
                          const DeviceBuffer& out) const {
    return {weights.as<unsigned char>(),
            row_blocks,
            tiles,
            x.as<std::uint16_t>(),
            nullptr,
            0,
            1,
            nullptr,
            out.as<float>(),
            2 * model.inner,
            model.inner,
            cuda::Output::swiglu};
  }
};

void multiply_some(benchmark::State& state, const Experts& model,
                   const Format& format, int rows, int group_rows) {
  Stream stream;
  const cuda::Grouping grouping{rows, model.experts, model.used, group_rows};
  const Groups groups(stream, model, grouping);
  const Gates gates(stream, model, format);
  const int columns = cuda::some_rows_columns(std::max(group_rows, 8));
  const auto stage = cuda::some_rows_stage(format.layout, columns, 1,
                                           cuda::OperandOrder::rows);
  const int stages = cuda::operand_stages(gates.tiles);
  const long long stride = static_cast<long long>(stages) * stage.bytes();
  const auto x = zeros(stream, static_cast<std::size_t>(stride * groups.count));
  const auto out = zeros(stream, sizeof(float) * grouping.places() *
                                     static_cast<std::size_t>(model.inner));
  cuda::ExpertsSomeArgs args{};
  args.each.products = gates.args(model, x, out);
  args.each.slice = cuda::experts_some_slice(
      gates.row_blocks, gates.tiles,
      cuda::some_rows_together(columns, format.layout.bits), groups.count,
      groups.count, cuda_device().multiprocessors);
  const int slices = (stages + args.each.slice - 1) / args.each.slice;
  const auto parts =
      zeros(stream, cuda::experts_some_parts_bytes(gates.row_blocks, columns,
                                                   slices, groups.count));
  const auto counters = zeros(stream, sizeof(unsigned) * cuda::kSlicedBlocks);
  args.each.parts = parts.as<float>();
  args.each.counters = counters.as<unsigned>();
  args.weight_stride = gates.bytes;
  args.x_stride = grouping.has_all_rows() ? 0 : stride;
  const auto& kernel = cuda_kernel(
      "experts/some_rows", std::string("experts_some_") + format.name + "_n" +
                               std::to_string(columns));
  const auto shape = LaunchShape{
      .grid_x = static_cast<unsigned>(cuda::some_rows_groups(gates.row_blocks)),
      .grid_y = static_cast<unsigned>(slices),
      .grid_z = static_cast<unsigned>(groups.count),
      .block = cuda::kSomeRowsThreads,
      .shared_bytes = static_cast<unsigned>(
          cuda::some_rows_shared_bytes(format.layout, stage))};
  for (auto _ : state) {
    report(state, static_cast<double>(gates.bytes) * groups.count,
           4.0 * rows * model.used * model.inner * model.hidden,
           seconds_each(stream, kChain, [&](int i) {
             args.groups = groups.of(i);
             launch(stream, kernel, shape, args);
           }));
  }
}

void multiply_many(benchmark::State& state, const Experts& model,
                   const Format& format, int rows) {
  Stream stream;
  const cuda::Grouping grouping{rows, model.experts, model.used,
                                cuda::kManyRowsTokens};
  const Groups groups(stream, model, grouping);
  const Gates gates(stream, model, format);
  const auto x = zeros(
      stream, std::size_t{2} * rows * static_cast<std::size_t>(model.hidden));
  const auto scales = zeros(stream, sizeof(float) * rows);
  const auto out = zeros(stream, sizeof(float) * grouping.places() *
                                     static_cast<std::size_t>(model.inner));
  cuda::ExpertsManyArgs args{};
  args.each = gates.args(model, x, out);
  args.each.scales = scales.as<float>();
  args.each.rows = rows;
  args.rows_of = groups.rows_of.as<const int>();
  args.weight_stride = gates.bytes;
  const auto& kernel = cuda_kernel("experts/many_rows",
                                   std::string("experts_many_") + format.name);
  for (auto _ : state) {
    report(state, static_cast<double>(gates.bytes) * groups.count,
           4.0 * rows * model.used * model.inner * model.hidden,
           seconds_each(stream, kChain, [&](int i) {
             args.groups = groups.of(i);
             launch(
                 stream, kernel,
                 {.grid_x = static_cast<unsigned>(groups.count),
                  .grid_y = static_cast<unsigned>((gates.row_blocks + 7) / 8),
                  .block = cuda::kManyRowsThreads,
                  .shared_bytes = cuda::kExpertsManySharedBytes},
                 args);
           }));
  }
}

/// Of rows that are all 0: the first experts are chosen.
void route(benchmark::State& state, const Experts& model, int rows, int each) {
  Stream stream;
  const cuda::Grouping grouping{rows, model.experts, model.used,
                                rows > 8 ? 32 : 0};
  const auto count = static_cast<std::size_t>(rows);
  const auto table = zeros(stream, 4 * count * model.experts);
  const auto router =
      zeros(stream, std::size_t{4} * model.experts * model.hidden);
  const auto x = zeros(stream, 4 * count * model.hidden);
  const auto chosen = zeros(stream, 8 * count * model.used);
  const auto masks = zeros(stream, 4 * (count + 8) * model.experts);
  const auto places = zeros(stream, 4 * count * model.experts);
  const auto small = zeros(stream, 8 * count + 16);
  const auto groups =
      zeros(stream, sizeof(cuda::ExpertGroup) * grouping.most_groups() + 16);
  const auto rows_of = zeros(stream, sizeof(int) * grouping.places());
  cuda::RouteArgs args{};
  args.x = x.as<float>();
  args.rows = rows;
  args.cols = model.hidden;
  args.eps = 1e-5F;
  args.router = router.as<float>();
  args.experts = model.experts;
  args.used = model.used;
  args.logits = table.as<float>();
  args.norms = small.as<float>();
  args.chosen = chosen.as<int>();
  args.shares = chosen.as<float>() + count * model.used;
  args.masks = masks.as<unsigned>();
  args.counters = small.as<unsigned>() + count;
  args.order = {args.masks,
                rows,
                model.experts,
                grouping.group_rows,
                groups.as<cuda::ExpertGroup>(),
                small.as<int>() + 2 * count,
                rows_of.as<int>(),
                places.as<int>()};
  const auto row_blocks =
      static_cast<unsigned>((rows + cuda::kRouteRows - 1) / cuda::kRouteRows);
  const int warps = cuda::kRouteWarps * each;
  const LaunchShape shape{
      .grid_x = row_blocks,
      .grid_y = static_cast<unsigned>((model.experts + warps - 1) / warps),
      .block = cuda::kRouteThreads,
      .shared_bytes =
          static_cast<unsigned>(cuda::route_shared_bytes(model.experts))};
  const auto& kernel =
      cuda_kernel("experts/route", "route_rows_e" + std::to_string(each));
  const auto& order = cuda_kernel("experts/route", "order_rows");
  for (auto _ : state) {
    report(state, 4.0 * model.experts * model.hidden,
           2.0 * rows * model.experts * model.hidden,
           seconds_each(stream, kChain, [&](int) {
             launch(stream, kernel, shape, args);
             if (row_blocks == 1) return;
             launch(stream, order,
                    {.grid_x = 1,
                     .block = cuda::kOrderThreads,
                     .shared_bytes =
                         static_cast<unsigned>(cuda::order_shared_bytes(
                             cuda::kOrderThreads, model.experts))},
                    args.order);
           }));
  }
}

template <typename Run>
void add(const std::string& name, const Run& run) {
  benchmark::RegisterBenchmark(name.c_str(), run)
      ->UseManualTime()
      ->Iterations(5)
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

void add_experts_benchmarks() {
  constexpr Experts kModels[] = {{"8x7b", 8, 2, 4096, 14336},
                                 {"30b_a3b", 128, 8, 2048, 768}};
  constexpr Format kFormats[] = {
      {"affine4_g64_bf16", {cuda::NumberType::bf16, 4, 64}},
      {"bf16", {cuda::NumberType::bf16, 0, 0}},
      {"nvfp4", cuda::kNvfp4Layout},
      {"mxfp8", cuda::kMxfp8Layout},
  };
  for (const auto& model : kModels) {
    const auto prefix = std::string("experts/") + model.name;
    for (const int rows : {1, 8, 64, 2048}) {
      for (const int each : {1, 4}) {
        add(prefix + "/route/rows:" + std::to_string(rows) +
                "/each:" + std::to_string(each),
            [=](benchmark::State& state) { route(state, model, rows, each); });
      }
    }
    for (const auto& format : kFormats) {
      const auto name = prefix + "/" + format.name;
      for (const int rows : {1, 2, 8, 16, 32, 64, 128, 256}) {
        for (const int group_rows : {0, 8, 16, 32}) {
          const bool has_all_rows = group_rows == 0;
          if (has_all_rows != (rows <= 8)) continue;
          if (!has_all_rows && rows * model.used > group_rows * model.experts) {
            continue;
          }
          add(name + "/some/rows:" + std::to_string(rows) +
                  "/group:" + std::to_string(group_rows),
              [=](benchmark::State& state) {
                multiply_some(state, model, format, rows, group_rows);
              });
        }
      }
      for (const int rows : {64, 256, 512}) {
        add(name + "/many/rows:" + std::to_string(rows),
            [=](benchmark::State& state) {
              multiply_many(state, model, format, rows);
            });
      }
    }
  }
}

}  // namespace llamlx
