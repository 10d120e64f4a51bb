// How fast kernels multiply with weights that no cache holds, beside how fast
// this GPU reads: llamlx_cuda_bench [--benchmark_filter=...]
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <random>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "cuda/attention/attention_bench.h"
#include "cuda/chain_timing.h"
#include "cuda/device.h"
#include "cuda/experts/experts_bench.h"
#include "cuda/kernel.h"
#include "cuda/limits/read.h"
#include "cuda/matmul/few_rows.h"
#include "cuda/matmul/many_rows_hopper.h"
#include "cuda/matmul/some_rows.h"
#include "cuda/matmul/stages.h"
#include "cuda/memory.h"
#include "cuda/modules.h"

namespace llamlx {
namespace {

using cuda::FewRowsArgs;

/// Launches that follow each other, in one graph.
constexpr int kChain = 40;
constexpr int kMostSlicesOfCluster = 8;
/// Together the weights of a chain are far more than the caches hold.
constexpr std::size_t kWeightBytes = std::size_t{1} << 30;

/// Numbers of 16 or 32 bits of about 0.01 to 1: zeros would cost less power,
/// and matrix units run faster on them.
void fill_random(Stream& stream, const DeviceBuffer& buffer) {
  static const auto numbers = [] {
    std::mt19937 random(1);
    std::vector<std::uint32_t> words(std::size_t{4} << 20);
    for (auto& word : words) {
      word = (random() & 0x83ff83ffU) | 0x3c003c00U;
    }
    return words;
  }();
  const auto most = numbers.size() * sizeof(std::uint32_t);
  for (std::size_t at = 0; at < buffer.bytes(); at += most) {
    upload(stream, buffer.as<std::byte>() + at, numbers.data(),
           std::min(most, buffer.bytes() - at));
  }
}

void read_memory(benchmark::State& state, std::size_t bytes) {
  Stream stream;
  const DeviceBuffer memory(kWeightBytes);
  fill_zero(stream, memory.data(), memory.bytes());
  const DeviceBuffer sink(4);
  const auto& kernel = cuda_kernel("limits/read", "read_memory");
  const auto places = std::max<std::size_t>(kWeightBytes / bytes, 1);
  for (auto _ : state) {
    report(
        state, static_cast<double>(bytes), 0,
        seconds_each(stream, kChain, [&](int i) {
          launch(
              stream, kernel,
              {.grid_x =
                   static_cast<unsigned>(2 * cuda_device().multiprocessors),
               .block = cuda::kReadThreads},
              cuda::ReadArgs{reinterpret_cast<const cuda::Words4*>(
                                 memory.as<std::byte>() +
                                 static_cast<std::size_t>(i) % places * bytes),
                             static_cast<long long>(bytes / 16),
                             sink.as<std::uint32_t>()});
        }));
  }
}

struct Shape {
  int rows;
  int cols;
  bool is_normed;
  cuda::Output output;
};

struct Format {
  const char* name;
  cuda::PackedLayout layout;
};

/// As many of a weight as no cache holds.
struct Weights {
  int tiles;
  int row_blocks;
  std::size_t bytes;
  DeviceBuffer memory;

  Weights(Stream& stream, const Shape& shape, const Format& format)
      : tiles((shape.cols + 63) / 64),
        row_blocks((shape.rows + 15) / 16),
        bytes(static_cast<std::size_t>(row_blocks) * tiles *
              cuda::tile_bytes(format.layout)),
        memory(std::max(kWeightBytes, bytes)) {
    fill_random(stream, memory);
  }
  /// That of launch i.
  const unsigned char* at(int i) const {
    const auto places = std::max<std::size_t>(kWeightBytes / bytes, 1);
    return memory.as<unsigned char>() +
           static_cast<std::size_t>(i) % places * bytes;
  }
};

void few_rows(benchmark::State& state, const Shape& shape, const Format& format,
              int x_rows, int share) {
  Stream stream;
  const Weights weights(stream, shape, format);
  const int tiles = weights.tiles;
  const auto numbers = static_cast<std::size_t>(8) *
                       std::max(shape.rows, shape.cols) * sizeof(float);
  const DeviceBuffer x(numbers);
  const DeviceBuffer out(numbers);
  const DeviceBuffer norm(numbers);
  for (const auto* buffer : {&x, &out, &norm}) fill_random(stream, *buffer);
  FewRowsArgs args{};
  args.row_blocks = weights.row_blocks;
  args.tiles = tiles;
  args.cols = shape.cols;
  args.x = x.as<float>();
  args.rows = x_rows;
  args.norm = shape.is_normed ? norm.as<float>() : nullptr;
  args.largest_norm = 1;
  args.eps = 1e-5F;
  args.planes = 1;
  args.share = share;
  args.chunk =
      cuda::few_rows_chunk(cuda::tile_bytes(format.layout), tiles, share);
  args.stages = 2;
  args.out = out.as<float>();
  args.out_rows = shape.rows;
  args.out_stride = shape.rows;
  args.output = shape.output;
  const auto shared = static_cast<unsigned>(cuda::few_rows_shared_bytes(
      format.layout, tiles, x_rows, 1, args.chunk, args.stages));
  if (static_cast<int>(shared) > cuda_device().shared_bytes_per_block) {
    return state.SkipWithError("takes too much shared memory");
  }
  const auto& kernel =
      cuda_kernel("matmul/few_rows", std::string("few_rows_") + format.name);
  kernel.allow_shared(shared);
  const int blocks_each = cuda::kFewRowsWarps / share;
  const auto blocks = static_cast<unsigned>(
      std::min((weights.row_blocks + blocks_each - 1) / blocks_each,
               2 * cuda_device().multiprocessors));
  for (auto _ : state) {
    report(state, static_cast<double>(weights.bytes), 0,
           seconds_each(stream, kChain, [&](int i) {
             args.weight = weights.at(i);
             launch(stream, kernel,
                    {.grid_x = blocks,
                     .block = cuda::kFewRowsThreads,
                     .shared_bytes = shared},
                    args);
           }));
  }
}

/// By slices of so many stages; `makes_operands`: of x anew for every product.
void some_rows(benchmark::State& state, const Shape& shape,
               const Format& format, int x_rows, int slice,
               bool makes_operands) {
  Stream stream;
  const Weights weights(stream, shape, format);
  const int tiles = weights.tiles;
  const int columns = cuda::some_rows_columns(x_rows);
  const auto numbers = static_cast<std::size_t>(8) * columns *
                       std::max(shape.rows, tiles * 64) * sizeof(float);
  const DeviceBuffer x(numbers);
  const bool by_warpgroups = has_warpgroups(cuda_device()) && x_rows > 8;
  const auto order =
      by_warpgroups ? cuda::OperandOrder::fragments : cuda::OperandOrder::rows;
  const bool is_bf16 =
      by_warpgroups && cuda::some_rows_bf16_takes(format.layout, columns);
  const auto stage =
      is_bf16 ? cuda::some_rows_bf16_stage(columns)
              : cuda::some_rows_stage(format.layout, columns, 1, order);
  const DeviceBuffer operands(static_cast<std::size_t>(stage.bytes()) *
                              cuda::operand_stages(tiles));
  const DeviceBuffer out(numbers);
  for (const auto* buffer : {&x, &out}) fill_random(stream, *buffer);
  const int groups = cuda::some_rows_groups(weights.row_blocks);
  const int slices = (cuda::operand_stages(tiles) + slice - 1) / slice;
  if (by_warpgroups && slices > kMostSlicesOfCluster) {
    return state.SkipWithError("takes more slices than a cluster has");
  }
  const DeviceBuffer parts(std::max<std::size_t>(
      cuda::some_rows_parts_bytes(weights.row_blocks, columns, slices), 16));
  const DeviceBuffer counters(static_cast<std::size_t>(groups) * 4);
  fill_zero(stream, counters.data(), counters.bytes());
  cuda::SomeRowsArgs args{};
  args.products = {nullptr,
                   weights.row_blocks,
                   tiles,
                   operands.as<std::uint16_t>(),
                   nullptr,
                   x_rows,
                   1,
                   nullptr,
                   out.as<float>(),
                   shape.rows,
                   shape.rows,
                   shape.output};
  args.slice = slice;
  args.parts = parts.as<float>();
  args.counters = counters.as<unsigned>();
  const auto shared =
      static_cast<unsigned>(cuda::some_rows_shared_bytes(format.layout, stage));
  if (static_cast<int>(shared) > cuda_device().shared_bytes_per_block) {
    return state.SkipWithError("takes too much shared memory");
  }
  const std::string name = is_bf16         ? "some_rows_bf16"
                           : by_warpgroups ? "some_rows_hopper"
                                           : "some_rows";
  const auto& kernel =
      cuda_kernel("matmul/" + name,
                  name + "_" + format.name + "_n" + std::to_string(columns));
  kernel.allow_shared(shared);
  const auto& make =
      cuda_kernel("matmul/stages", is_bf16 || !format.layout.is_affine()
                                       ? "make_stages_bf16"
                                       : "make_stages_f16");
  const auto make_operands = [&] {
    launch(stream, make,
           {.grid_x = static_cast<unsigned>(stage.rows),
            .block = cuda::kStageThreads,
            .shared_bytes = 256},
           cuda::StageArgs{x.as<float>(),
                           x_rows,
                           shape.cols,
                           tiles,
                           nullptr,
                           {stage, operands.as<unsigned char>()},
                           nullptr});
  };
  make_operands();
  for (auto _ : state) {
    report(state, static_cast<double>(weights.bytes), 0,
           seconds_each(stream, kChain, [&](int i) {
             if (makes_operands) make_operands();
             args.products.weight = weights.at(i);
             launch(stream, kernel,
                    {.grid_x = static_cast<unsigned>(groups),
                     .grid_y = static_cast<unsigned>(slices),
                     .block = cuda::kSomeRowsThreads,
                     .shared_bytes = shared,
                     .is_cluster = by_warpgroups},
                    args);
           }));
  }
}

void many_rows(benchmark::State& state, const Shape& shape,
               const Format& format, int x_rows, int tokens) {
  Stream stream;
  const int tiles = (shape.cols + 63) / 64;
  const int row_blocks = (shape.rows + 15) / 16;
  const DeviceBuffer weight(static_cast<std::size_t>(row_blocks) * tiles *
                            cuda::tile_bytes(format.layout));
  const DeviceBuffer x(static_cast<std::size_t>(x_rows) * tiles * 128);
  const DeviceBuffer scales(static_cast<std::size_t>(x_rows) * 4);
  const DeviceBuffer out(static_cast<std::size_t>(x_rows) * shape.rows * 4);
  for (const auto* buffer : {&weight, &x, &scales, &out}) {
    fill_random(stream, *buffer);
  }
  const cuda::ManyRowsArgs args{weight.as<unsigned char>(),
                                row_blocks,
                                tiles,
                                x.as<std::uint16_t>(),
                                scales.as<float>(),
                                x_rows,
                                1,
                                nullptr,
                                out.as<float>(),
                                shape.rows,
                                shape.rows,
                                shape.output};
  const bool by_warpgroups = tokens > 0;
  const auto& kernel =
      by_warpgroups
          ? cuda_kernel("matmul/many_rows_hopper",
                        std::string("many_rows_hopper_") + format.name + "_n" +
                            std::to_string(tokens))
          : cuda_kernel("matmul/many_rows", "many_rows_bf16");
  const int each = by_warpgroups ? tokens : cuda::kManyRowsTokens;
  const auto blocks_x = static_cast<unsigned>((x_rows + each - 1) / each);
  const auto blocks_y = static_cast<unsigned>((row_blocks + 7) / 8);
  const auto shared = static_cast<unsigned>(
      by_warpgroups ? cuda::hopper_shared_bytes(tokens, format.layout.bits == 0)
                    : cuda::kManyRowsSharedBytes);
  const LaunchShape grid =
      by_warpgroups ? LaunchShape{.grid_x = cuda::hopper_blocks(
                                      tokens, x_rows, row_blocks,
                                      cuda_device_info()->multiprocessors),
                                  .block = cuda::kHopperThreads,
                                  .shared_bytes = shared}
                    : LaunchShape{.grid_x = blocks_x,
                                  .grid_y = blocks_y,
                                  .block = cuda::kManyRowsThreads,
                                  .shared_bytes = shared};
  for (auto _ : state) {
    const double operations = 2.0 * x_rows * shape.rows * shape.cols;
    report(state, static_cast<double>(weight.bytes()), operations,
           seconds_each(stream, kChain,
                        [&](int) { launch(stream, kernel, grid, args); }));
  }
}

template <typename Run>
void add(const std::string& name, const Run& run) {
  benchmark::RegisterBenchmark(name.c_str(), run)
      ->UseManualTime()
      ->Iterations(5)
      ->Unit(benchmark::kMicrosecond);
}

void add_all() {
  for (const std::size_t mib : {4, 16, 64, 1024}) {
    add("read/" + std::to_string(mib) + "MiB",
        [mib](benchmark::State& state) { read_memory(state, mib << 20); });
  }
  const Shape shapes[] = {
      {3072, 2048, true, cuda::Output::store},
      {2048, 2048, false, cuda::Output::add},
      {16384, 2048, true, cuda::Output::swiglu},
      {2048, 8192, false, cuda::Output::add},
      {6144, 4096, true, cuda::Output::store},
      {4096, 4096, false, cuda::Output::add},
      {28672, 4096, true, cuda::Output::swiglu},
      {4096, 14336, false, cuda::Output::add},
      {128256, 4096, true, cuda::Output::store},
  };
  const Format formats[] = {
      {"affine4_g64_bf16", {cuda::NumberType::bf16, 4, 64}},
      {"affine8_g64_bf16", {cuda::NumberType::bf16, 8, 64}},
      {"bf16", {cuda::NumberType::bf16, 0, 0}},
      {"nvfp4", cuda::kNvfp4Layout},
      {"mxfp8", cuda::kMxfp8Layout},
  };
  for (const auto& shape : shapes) {
    const auto size =
        std::to_string(shape.rows) + "x" + std::to_string(shape.cols);
    for (const auto& format : formats) {
      for (const int x_rows : {1, 8}) {
        for (const int share : {16, 8, 4}) {
          add("few/" + size + "/" + format.name + "/rows:" +
                  std::to_string(x_rows) + "/share:" + std::to_string(share),
              [=](benchmark::State& state) {
                few_rows(state, shape, format, x_rows, share);
              });
        }
      }
    }
    for (const auto& format : formats) {
      for (const int x_rows : {8, 16, 32, 64}) {
        for (const int slice : {1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 14, 16, 56}) {
          add("some/" + size + "/" + format.name + "/rows:" +
                  std::to_string(x_rows) + "/slice:" + std::to_string(slice),
              [=](benchmark::State& state) {
                some_rows(state, shape, format, x_rows, slice, false);
              });
        }
      }
    }
    add("operands/" + size, [=](benchmark::State& state) {
      some_rows(state, shape, formats[0], 8, 2, true);
    });
    for (const auto& format : formats) {
      for (const int x_rows : {128, 512, 2048}) {
        for (const int tokens : {0, 128, 256}) {
          // Only warpgroups read codes as they are.
          if (tokens == 0 && format.layout.bits > 0) continue;
          add("many/" + size + "/" + format.name +
                  "/rows:" + std::to_string(x_rows) +
                  "/warpgroups:" + std::to_string(tokens),
              [=](benchmark::State& state) {
                many_rows(state, shape, format, x_rows, tokens);
              });
        }
      }
    }
  }
}

}  // namespace
}  // namespace llamlx

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  if (!llamlx::cuda_device_info()) {
    std::fprintf(stderr, "llamlx_cuda_bench: %s\n",
                 llamlx::cuda_absence().c_str());
    return 1;
  }
  llamlx::add_all();
  llamlx::add_attention_benchmarks();
  llamlx::add_experts_benchmarks();
  benchmark::RunSpecifiedBenchmarks();
}
