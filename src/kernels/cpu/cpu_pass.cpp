#include "kernels/cpu/cpu_pass.h"

#include <algorithm>

namespace llamlx {
namespace {

// Rows of a weight in one task when rows are many: each task reads all of x
// anew, and the threads should end together.
int task_rows(int weight_rows, int threads) {
  constexpr int kLeast = 64;
  constexpr int kTasksEach = 8;
  return weight_rows >= 2 * kLeast * kTasksEach * threads ? 2 * kLeast : kLeast;
}

// Query rows that one task of attention takes when rows are many.
constexpr int kQueryRows = 64;

int round_up(int n, int step) { return (n + step - 1) / step * step; }

int ceil_div(int n, int step) { return (n + step - 1) / step; }

std::size_t float_bytes(std::size_t count) { return count * sizeof(float); }

/// Bytes of the buffers that the products of a layer take.
struct ProductBytes {
  std::size_t rows = 0;
  std::array<std::size_t, 3> prepared{};
  std::size_t outputs = 0;
  std::size_t scratch = 0;

  /// `layers` share an input of `rows` rows; a task makes `width` outputs.
  void add(std::initializer_list<const CpuLinear*> layers, int count,
           int width) {
    std::size_t j = 0;
    for (const auto* layer : layers) {
      const auto& format = layer->read_by(count).format;
      const int cols = layer->weight.cols;
      const auto& kernel = layer->kernel(count);
      rows = std::max(rows, float_bytes(std::size_t(count) * cols));
      prepared[j] =
          std::max(prepared[j], kernel.prepared_bytes(format, count, cols));
      outputs = std::max(outputs, float_bytes(std::size_t{2} * count * width));
      scratch = std::max(scratch, kernel.scratch_bytes(format, count, cols));
      ++j;
    }
  }
};

/// Bytes that the products of experts take, however a pass's rows are spread
/// over them.
struct ExpertBytes {
  int experts = 0;
  std::array<std::size_t, 2> prepared{};
  std::size_t scratch = 0;

  /// Each of `rows` rows goes to some experts, `copies` in all.
  void add(const CpuLayer& layer, int rows, int copies) {
    experts = std::max(experts, layer.router->weight.rows);
    add(layer.gate_proj, 0, rows, copies);
    add(layer.up_proj, 1, rows, copies);
    add(layer.down_proj, 0, rows, copies);
  }

 private:
  void add(const CpuLinear& linear, std::size_t which, int rows, int copies) {
    const auto& [format, n, cols, data, scales, biases, rest] = linear.weight;
    std::size_t most = 0;  // bytes a row
    for (int count = 1; count <= rows; ++count) {
      const auto& kernel = linear.kernel(count);
      const auto bytes = kernel.prepared_bytes(format, count, cols);
      const auto divisor = static_cast<std::size_t>(count);
      most = std::max(most, (bytes + divisor - 1) / divisor);
      scratch = std::max(scratch, kernel.scratch_bytes(format, count, cols));
    }
    // Each group begins at a line of its own.
    const auto groups = static_cast<std::size_t>(std::min(experts, copies));
    prepared[which] =
        std::max(prepared[which], most * static_cast<std::size_t>(copies) +
                                      groups * AlignedBuffer::kAlignment);
  }
};

}  // namespace

CpuPass::CpuPass(const CpuModel& owner, std::span<const CpuSegment> runs,
                 bool traditional, float scale, float* stream)
    : model(owner),
      space(owner.workspace),
      vectors(vector_kernels()),
      segments(runs),
      traditional_rope(traditional),
      rope_scale(scale),
      x(stream),
      residual(stream) {
  for (const auto& segment : segments) rows += segment.length;
  reserve_products();
  plan_attention();
}

CpuPass::CpuPass(const CpuModel& owner, int count, const float* hidden)
    : model(owner),
      space(owner.workspace),
      vectors(vector_kernels()),
      rows(count),
      x(hidden) {
  reserve_products();
}

int CpuPass::part_size(const CpuLinear& layer) const {
  const int threads = model.pool->size();
  const int most = is_few() ? ceil_div(layer.weight.rows, threads)
                            : task_rows(layer.weight.rows, threads);
  return round_up(most, layer.unit);
}

WeightRun CpuPass::part(const CpuLinear& layer, int task,
                        const WeightStart& next) const {
  const int begin = task * part_size(layer);
  return {begin, std::min(begin + part_size(layer), layer.weight.rows), next};
}

int CpuPass::parts_of(const CpuLinear& layer) const {
  return ceil_div(layer.weight.rows, part_size(layer));
}

WeightStart CpuPass::start(const Worker& worker, const CpuLinear& layer) const {
  const int begin = worker.index() * part_size(layer);
  if (!is_few() || begin >= layer.weight.rows) return {};
  return start_of(layer.read_by(rows), begin);
}

void CpuPass::reserve_products() {
  const auto& heads = model.params.heads;
  ProductBytes bytes;
  for (const auto& layer : model.layers) {
    bytes.add({&layer.q_proj, &layer.k_proj, &layer.v_proj}, rows,
              std::max(part_size(layer.q_proj), part_size(layer.k_proj)));
    bytes.add({&layer.o_proj}, rows, part_size(layer.o_proj));
    if (layer.router) {
      bytes.add({&*layer.router}, rows, part_size(*layer.router));
    }
    bytes.add({&layer.gate_proj, &layer.up_proj}, rows,
              part_size(layer.gate_proj));
    bytes.add({&layer.down_proj}, rows, part_size(layer.down_proj));
  }
  bytes.add({&model.lm_head}, rows, part_size(model.lm_head));
  for (auto& own : space.threads) {
    own.outputs.reserve(bytes.outputs);
    own.scratch.reserve(bytes.scratch);
    if (!is_few()) continue;
    own.rows.reserve(bytes.rows);
    for (std::size_t j = 0; j < 3; ++j)
      own.prepared[j].reserve(bytes.prepared[j]);
  }
  const auto count = static_cast<std::size_t>(rows);
  if (!is_few()) {
    space.rows.reserve(bytes.rows);
    for (std::size_t j = 0; j < 3; ++j) {
      space.prepared[j].reserve(bytes.prepared[j]);
    }
  }
  space.cos_sin.reserve(float_bytes(count * heads.head_dim));
  space.q.reserve(
      float_bytes(count * heads.num_attention_heads * heads.head_dim));
  std::size_t inner = 0;
  for (const auto& layer : model.layers) {
    const auto copies = layer.router ? experts_per_row() : 1;
    inner = std::max(
        inner, static_cast<std::size_t>(copies) * layer.up_proj.weight.rows);
  }
  space.hidden.reserve(float_bytes(count * inner));
  reserve_experts();
}

void CpuPass::reserve_experts() {
  const int copies = rows * experts_per_row();
  ExpertBytes bytes;
  for (const auto& layer : model.layers) {
    if (layer.router) bytes.add(layer, rows, copies);
  }
  if (bytes.experts == 0) return;
  const auto count = static_cast<std::size_t>(rows);
  space.router_logits.reserve(float_bytes(count * bytes.experts));
  space.experts.reserve(static_cast<std::size_t>(copies) *
                        sizeof(std::int32_t));
  space.shares.reserve(float_bytes(static_cast<std::size_t>(copies)));
  const auto reserve = [&](auto& where) {
    where.expert_rows.reserve(
        float_bytes(static_cast<std::size_t>(copies) * model.hidden_size()));
    for (std::size_t j = 0; j < 2; ++j) {
      where.expert_prepared[j].reserve(bytes.prepared[j]);
    }
  };
  if (!is_few()) reserve(space);
  for (auto& own : space.threads) {
    own.scratch.reserve(bytes.scratch);
    own.routed.reserve(copies, bytes.experts);
    if (is_few()) reserve(own);
  }
}

void CpuPass::plan_attention() {
  const auto& heads = model.params.heads;
  const int group = model.group();
  int first_row = 0;
  int first_part = 0;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    const auto& segment = segments[s];
    const bool few = segment.length <= kFewRows;
    const int positions = segment.offset + segment.length;
    const int split_positions =
        few ? attention_part_length(positions) : positions;
    const int splits = ceil_div(positions, split_positions);
    const int block = few ? segment.length : std::max(kQueryRows / group, 1);
    // The last rows see most: their tasks are dealt out first.
    const int blocks = ceil_div(segment.length, block);
    for (int b = blocks - 1; b >= 0; --b) {
      const int end = std::min((b + 1) * block, segment.length);
      const auto& kernel = reserve_attention((end - b * block) * group);
      for (int head = 0; head < heads.num_key_value_heads; ++head) {
        for (int split = 0; split < splits; ++split) {
          attention_tasks.push_back(
              {static_cast<int>(s), head, b * block, end, split, &kernel});
        }
      }
    }
    parts.push_back({first_row, first_part, splits, split_positions});
    first_row += segment.length;
    first_part += heads.num_key_value_heads * splits * segment.length * group;
  }
  const auto count = static_cast<std::size_t>(first_part);
  space.part_out.reserve(float_bytes(count * heads.head_dim));
  space.part_largest.reserve(float_bytes(count));
  space.part_sum.reserve(float_bytes(count));
  append = reserve_attention(1).append;
}

const AttentionKernel& CpuPass::reserve_attention(int query_rows) {
  const int head_dim = model.params.heads.head_dim;
  const auto& kernel =
      attention_kernel(model.compute, head_dim, model.compute, query_rows);
  for (auto& own : space.threads) {
    own.scratch.reserve(kernel.scratch_bytes(head_dim, query_rows));
    own.bounds.reserve(sizeof(int) * std::size_t{2} * query_rows);
  }
  return kernel;
}

void norm_row(const CpuPass& pass, const CpuVector& norm, int row, float* out) {
  pass.vectors.rms_norm(pass.row(row), norm.data, norm.type,
                        pass.model.hidden_size(),
                        pass.model.params.rms_norm_eps, out);
}

void multiply(Worker& worker, CpuPass& pass, const CpuLinear& layer,
              const void* prepared, const WeightRun& run, float* y,
              int stride) {
  layer.kernel(pass.rows).multiply(
      layer.read_by(pass.rows), prepared, pass.rows, run,
      pass.thread(worker).scratch.data(), y, stride);
  const auto& [data, type] = layer.bias;
  if (data == nullptr) return;
  const auto* bias = static_cast<const std::byte*>(data) +
                     static_cast<std::size_t>(run.begin) * size_of(type);
  for (int i = 0; i < pass.rows; ++i) {
    pass.vectors.add_bias(y + static_cast<std::ptrdiff_t>(i) * stride, bias,
                          type, run.end - run.begin);
  }
}

void add_product(Worker& worker, CpuPass& pass, const CpuLinear& layer,
                 const void* prepared, const CpuLinear& next) {
  const int size = pass.model.hidden_size();
  auto* y = pass.thread(worker).outputs.as<float>();
  for_each_task(worker, pass, pass.parts_of(layer), [&](int task) {
    const auto run = pass.part(layer, task, pass.start(worker, next));
    const int width = run.end - run.begin;
    multiply(worker, pass, layer, prepared, run, y, width);
    for (int i = 0; i < pass.rows; ++i) {
      auto* out =
          pass.residual + static_cast<std::ptrdiff_t>(i) * size + run.begin;
      pass.vectors.add(out, y + static_cast<std::ptrdiff_t>(i) * width, width,
                       out);
    }
  });
  worker.barrier();
}

}  // namespace llamlx
