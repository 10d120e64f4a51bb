// How fast decoding attends to caches that are in no cache of the GPU, and how
// fast prompts attend to themselves.
#include "cuda/attention/attention_bench.h"

#include <algorithm>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include "cuda/attention/few_rows.h"
#include "cuda/attention/many_rows_hopper.h"
#include "cuda/device.h"
#include "cuda/graph.h"
#include "cuda/kernel.h"
#include "cuda/memory.h"

namespace llamlx {
namespace {

/// Launches that follow each other in one graph, each of another layer, as far
/// as so many bytes suffice, which are far more than the caches hold.
constexpr int kChain = 40;
constexpr std::size_t kCacheBytes = std::size_t{2} << 30;
constexpr std::size_t kFlushBytes = std::size_t{256} << 20;

struct Shape {
  int dim;
  int kv_heads;
  int group;
  int positions;  ///< old ones
  int batch;
  cuda::NumberType type = cuda::NumberType::bf16;  ///< of caches

  std::size_t layer_bytes() const {  // of a sequence
    return 2 * static_cast<std::size_t>(kv_heads) *
           static_cast<std::size_t>(
               cuda::cached_head_bytes(type, dim, positions + 1));
  }
  double bytes() const {
    return 2.0 * kv_heads * batch *
           static_cast<double>(cuda::cached_head_bytes(type, dim, positions));
  }
};

/// Sequences of one position after `positions` others, and all that attention
/// of theirs needs; everything is 0.
class Attention {
 public:
  Attention(Stream& stream, const Shape& shape)
      : shape_(shape),
        layers_(static_cast<int>(std::clamp<std::size_t>(
            kCacheBytes / (shape.layer_bytes() * shape.batch), 1, kChain))),
        splits_(cuda::attention_few_splits(shape.kv_heads,
                                           cuda_device().multiprocessors)),
        cache_(shape.layer_bytes() * shape.batch * layers_),
        qkv_(bytes(shape.batch * (shape.group + 2) * shape.kv_heads)),
        cos_sin_(bytes(shape.batch)),
        out_(bytes(shape.batch * shape.group * shape.kv_heads)),
        parts_(cuda::attention_few_parts_bytes(
            shape.batch, shape.group * shape.kv_heads, splits_, shape.dim)),
        counters_(sizeof(unsigned) * shape.batch * shape.kv_heads),
        segments_(sizeof(cuda::SegmentView) * shape.batch) {
    for (const auto* buffer : {&cache_, &qkv_, &cos_sin_, &counters_}) {
      fill_zero(stream, buffer->data(), buffer->bytes());
    }
    std::vector<cuda::SegmentView> views;
    for (int i = 0; i < shape.batch; ++i) {
      views.push_back(
          {cache_.as<unsigned char>() + shape.layer_bytes() * layers_ * i,
           shape.layer_bytes(), shape.positions + 1, shape.positions, i, 1});
    }
    upload(stream, segments_.data(), views.data(), segments_.bytes());
    stream.synchronize();
  }

  void put(Stream& stream, int index) const {
    const auto& kernel =
        cuda_kernel("attention/few_rows",
                    "attention_few_" + name_of(shape_.type) + "_d" +
                        std::to_string(cuda::attention_padded_dim(shape_.dim)));
    launch(stream, kernel,
           {.grid_x = static_cast<unsigned>(shape_.kv_heads),
            .grid_y = static_cast<unsigned>(splits_),
            .grid_z = static_cast<unsigned>(shape_.batch),
            .block = cuda::kAttentionFewThreads,
            .shared_bytes = static_cast<unsigned>(
                cuda::attention_few_shared_bytes(shape_.type, shape_.dim))},
           args(index % layers_));
  }

 private:
  static std::string name_of(cuda::NumberType type) {
    return type == cuda::NumberType::q8 ? "q8" : "bf16";
  }
  std::size_t bytes(int heads) const {
    return sizeof(float) * heads * shape_.dim;
  }
  cuda::AttentionFewArgs args(int layer) const {
    cuda::AttentionFewArgs args{};
    args.segments = segments_.as<const cuda::SegmentView>();
    args.layer = layer;
    args.num_heads = shape_.group * shape_.kv_heads;
    args.num_kv_heads = shape_.kv_heads;
    args.head_dim = shape_.dim;
    args.qkv = qkv_.as<const float>();
    args.eps = 1e-5F;
    args.cos_sin = cos_sin_.as<const float>();
    args.out = out_.as<float>();
    args.parts = parts_.as<float>();
    args.counters = counters_.as<unsigned>();
    return args;
  }

  Shape shape_;
  int layers_;
  int splits_;
  DeviceBuffer cache_;
  DeviceBuffer qkv_;
  DeviceBuffer cos_sin_;
  DeviceBuffer out_;
  DeviceBuffer parts_;
  DeviceBuffer counters_;
  DeviceBuffer segments_;
};

void attend(benchmark::State& state, const Shape& shape) {
  Stream stream;
  const Attention attention(stream, shape);
  const DeviceBuffer flush(kFlushBytes);
  const auto put_all = [&] {
    for (int i = 0; i < kChain; ++i) attention.put(stream, i);
  };
  put_all();
  auto graph = Graph::capture(stream, put_all);
  graph.launch(stream);
  for (auto _ : state) {
    Event from(EventTiming::on);
    Event to(EventTiming::on);
    fill_zero(stream, flush.data(), flush.bytes());
    from.record(stream);
    graph.launch(stream);
    to.record(stream);
    to.synchronize();
    const double seconds = elapsed_ms(from, to) / 1e3 / kChain;
    state.SetIterationTime(seconds);
    state.counters["us"] = seconds * 1e6;
    state.counters["GB/s"] = shape.bytes() / seconds / 1e9;
  }
}

/// A prompt of `shape.positions` rows, by warpgroups; everything is 0.
void attend_prompt(benchmark::State& state, const Shape& shape) {
  Stream stream;
  const auto rows = static_cast<std::size_t>(shape.positions);
  const int heads = shape.group * shape.kv_heads;
  const DeviceBuffer cache(shape.layer_bytes());
  const DeviceBuffer queries(rows * heads * shape.dim * 2);
  const DeviceBuffer out(rows * heads * shape.dim * 4);
  for (const auto* buffer : {&cache, &queries}) {
    fill_zero(stream, buffer->data(), buffer->bytes());
  }
  const std::vector<cuda::SegmentView> views = {
      {cache.as<unsigned char>(), shape.layer_bytes(), shape.positions + 1, 0,
       0, shape.positions}};
  const DeviceBuffer segments(sizeof(cuda::SegmentView));
  upload(stream, segments.data(), views.data(), segments.bytes());
  stream.synchronize();
  cuda::AttentionManyArgs args{};
  args.segments = segments.as<const cuda::SegmentView>();
  args.num_heads = heads;
  args.num_kv_heads = shape.kv_heads;
  args.head_dim = shape.dim;
  args.rows = shape.positions;
  args.q = queries.as<std::uint16_t>();
  args.out = out.as<float>();
  args.num_segments = 1;
  args.row_blocks = (shape.positions + cuda::kAttentionHopperRows - 1) /
                    cuda::kAttentionHopperRows;
  const auto& kernel =
      cuda_kernel("attention/many_rows_hopper",
                  "attention_hopper_bf16_d" +
                      std::to_string(cuda::attention_padded_dim(shape.dim)));
  const LaunchShape grid{
      .grid_x = static_cast<unsigned>(
          std::min(heads * args.row_blocks, cuda_device().multiprocessors)),
      .block = cuda::kAttentionHopperThreads,
      .shared_bytes = static_cast<unsigned>(
          cuda::attention_hopper_shared_bytes(shape.dim))};
  const auto put_all = [&] {
    for (int i = 0; i < kChain; ++i) launch(stream, kernel, grid, args);
  };
  put_all();
  auto graph = Graph::capture(stream, put_all);
  for (auto _ : state) {
    Event from(EventTiming::on);
    Event to(EventTiming::on);
    from.record(stream);
    graph.launch(stream);
    to.record(stream);
    to.synchronize();
    const double seconds = elapsed_ms(from, to) / 1e3 / kChain;
    state.SetIterationTime(seconds);
    state.counters["us"] = seconds * 1e6;
    // Of what is seen alone: half of all products.
    state.counters["TFLOP/s"] = 2.0 * static_cast<double>(rows * rows) * heads *
                                shape.dim / seconds / 1e12;
  }
}

template <typename Run>
void add(const char* what, const Shape& shape, const Run& run) {
  const auto name = std::string(what) + "/d:" + std::to_string(shape.dim) +
                    "/kv:" + std::to_string(shape.kv_heads) +
                    "/group:" + std::to_string(shape.group) +
                    "/batch:" + std::to_string(shape.batch) +
                    "/positions:" + std::to_string(shape.positions);
  benchmark::RegisterBenchmark(
      name.c_str(), [=](benchmark::State& state) { run(state, shape); })
      ->UseManualTime()
      ->Iterations(5)
      ->Unit(benchmark::kMicrosecond);
}

}  // namespace

void add_attention_benchmarks() {
  for (const int dim : {64, 128}) {
    for (const int kv_heads : {3, 8}) {
      for (const int batch : {1, 8}) {
        for (const int positions : {64, 600, 2048, 8192, 32768}) {
          Shape shape{dim, kv_heads, kv_heads == 3 ? 3 : 4, positions, batch};
          add("attend", shape, attend);
          shape.type = cuda::NumberType::q8;
          add("attend_q8", shape, attend);
        }
      }
    }
    for (const int positions : {512, 2048, 8192}) {
      add("attend_prompt", {dim, 8, 4, positions, 1}, attend_prompt);
    }
  }
}

}  // namespace llamlx
