#include "kernels/cuda/cuda_pass.h"

#include <algorithm>
#include <limits>

#include "cuda/attention/few_rows.h"
#include "cuda/kernel.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"
#include "kernels/cuda/cuda_expand.h"
#include "kernels/cuda/cuda_layer.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

CudaPass make_pass(CudaModel& model, std::span<const CudaSegment> segments,
                   const CudaRope& rope) {
  CudaPass pass{model, 0, static_cast<int>(segments.size()), 0,
                rope.traditional};
  for (const auto& segment : segments) {
    pass.rows += segment.length;
    pass.longest = std::max(pass.longest, segment.length);
  }
  return pass;
}

/// Memory for a pass: nothing is allocated while it is put into the stream.
void reserve(CudaModel& model, int rows) {
  auto& space = model.space;
  const auto& heads = model.params.heads;
  const auto count = static_cast<std::size_t>(rows);
  space.segments.reserve<cuda::SegmentView>(cuda::kMostSegments);
  space.choice.reserve<cuda::Choice>(1);
  space.ids.reserve<int>(count);
  space.cos_sin.reserve<float>(count * heads.head_dim);
  space.x.reserve<float>(count * model.hidden_size());
  space.qkv.reserve<float>(count * model.qkv_width());
  space.attended.reserve<float>(count * heads.num_attention_heads *
                                heads.head_dim);
  std::size_t inner = 0;
  for (const auto& layer : model.layers) {
    inner = std::max(inner, static_cast<std::size_t>(layer.down_proj.cols));
  }
  space.hidden.reserve<float>(count * inner);
  const bool are_apart = std::ranges::any_of(
      model.layers, [](const auto& layer) { return layer.gate_up.size() > 1; });
  if (are_apart) space.gate_up.reserve<float>(2 * count * inner);
  space.queries.reserve<std::uint16_t>(count * heads.num_attention_heads *
                                       heads.head_dim);
  space.parts.reserve<std::byte>(cuda::attention_few_parts_bytes(
      rows, heads.num_attention_heads, attention_splits(model, 1),
      heads.head_dim));
}

void upload_periods(CudaModel& model, const std::vector<float>& periods) {
  if (model.periods == periods) return;
  auto* to = model.space.periods.reserve<float>(
      std::max(periods.size(), static_cast<std::size_t>(cuda::kMostSegments) *
                                   model.params.heads.head_dim / 2));
  upload(model.stream, to, periods.data(), periods.size() * sizeof(float));
  model.periods = periods;
}

/// Makes room in the caches for a pass; the segments as kernels see them.
std::vector<cuda::SegmentView> make_views(
    CudaModel& model, std::span<const CudaSegment> segments) {
  std::vector<cuda::SegmentView> views;
  int first_row = 0;
  for (const auto& segment : segments) {
    segment.store->reserve(model.stream, segment.offset, segment.length);
    views.push_back(
        segment.store->view(segment.offset, first_row, segment.length));
    first_row += segment.length;
  }
  return views;
}

cuda::BeginArgs begin_args(CudaModel& model,
                           std::span<const CudaSegment> segments,
                           const CudaRope& rope, const int* ids) {
  const auto& table = model.embed_tokens;
  const int pairs = model.params.heads.head_dim / 2;
  cuda::BeginArgs args{};
  for (const auto& view : make_views(model, segments)) {
    const auto index = static_cast<std::size_t>(args.num_segments);
    args.segments[index] = view;
    args.firsts[index] = segments[index].store->first();
    ++args.num_segments;
  }
  args.ids = ids;
  args.table = table.bytes.as<const unsigned char>();
  args.layout = table.layout;
  args.tiles = table.tiles;
  args.vocab = table.rows;
  args.hidden = table.cols;
  args.periods = model.space.periods.as<const float>();
  args.periods_stride =
      model.periods.size() > static_cast<std::size_t>(pairs) ? pairs : 0;
  args.pairs = pairs;
  args.rope_scale = rope.scale;
  args.segments_out = model.space.segments.as<cuda::SegmentView>();
  args.choice_out = model.space.choice.as<cuda::Choice>();
  args.cos_sin = model.space.cos_sin.as<float>();
  args.x = model.space.x.as<float>();
  return args;
}

void begin(const CudaPass& pass, const cuda::BeginArgs& args) {
  pass.space().turn = 0;  // so that all passes reserve alike
  launch(pass.model.stream, cuda_kernel("token/begin", "begin_pass"),
         {.grid_x = static_cast<unsigned>(pass.rows)}, args);
}

void run_pass(const CudaPass& pass, const cuda::BeginArgs& args) {
  if (!pass.has_few_rows() && pass.model.has_rounded_caches()) {
    reserve_expanded(pass.model,
                     std::span(args.segments).first(args.num_segments));
  }
  begin(pass, args);
  const int layers = static_cast<int>(pass.model.layers.size());
  bool are_operands = false;
  for (int i = 0; i < layers; ++i) {
    are_operands = run_layer(pass, i, are_operands);
  }
}

/// Puts tokens where the GPU reads them.
const int* upload_ids(CudaModel& model, const std::int32_t* ids, int rows) {
  auto* to = model.space.ids.as<int>();
  upload(model.stream, to, ids, sizeof(int) * static_cast<std::size_t>(rows));
  return to;
}

/// Rows of a forward that go through together.
struct Part {
  std::vector<CudaSegment> segments;
  std::vector<float> periods;
  std::vector<int> last;  // rows that end a segment of the forward
  int rows = 0;
};

/// Cuts a forward into parts that kernels take: so many segments, none longer
/// than `longest`, and each of another sequence.
std::vector<Part> cut(std::span<const CudaSegment> segments,
                      const CudaRope& rope, int longest, std::size_t pairs) {
  std::vector<Part> parts(1);
  const bool turn_alike = rope.periods.size() == pairs;
  for (std::size_t s = 0; s < segments.size(); ++s) {
    auto left = segments[s];
    for (int length; left.length > 0; left.length -= length) {
      length = std::min(left.length, longest);
      auto& part = parts.back();
      part.segments.push_back({left.store, left.offset, length});
      part.rows += length;
      if (turn_alike) {
        part.periods = rope.periods;
      } else {
        const auto* from = rope.periods.data() + s * pairs;
        part.periods.insert(part.periods.end(), from, from + pairs);
      }
      if (length == left.length) part.last.push_back(part.rows - 1);
      left.offset += length;
      const bool is_full = part.segments.size() == cuda::kMostSegments;
      if (is_full || length < left.length) parts.emplace_back();
    }
  }
  if (parts.back().segments.empty()) parts.pop_back();
  return parts;
}

/// Room for logits of so many rows and for what is chosen of them.
void reserve_choice(CudaModel& model, int rows) {
  auto& space = model.space;
  const auto count = static_cast<std::size_t>(rows);
  space.choice.reserve<cuda::Choice>(1);
  // Never grows: the next pass may still have to read them.
  space.tokens.reserve<int>(kMostChoices);
  space.logits.reserve<float>(count * model.vocab_size());
  space.argmax_parts.reserve<cuda::LargestValue>(count * cuda::kArgmaxBlocks);
}

cuda::Choice next_choice(const CudaModel& model, const cuda::Draw& draw) {
  return {static_cast<int>(model.passes % cuda::kTokenSlots), draw};
}

/// By the workspace's choice.
void choose_tokens(CudaModel& model, int rows) {
  auto& space = model.space;
  const cuda::ArgmaxArgs args{
      space.logits.as<const float>(),
      model.vocab_size(),
      rows,
      space.argmax_parts.as<cuda::LargestValue>(),
      space.counters.as<unsigned>(),
      space.choice.as<const cuda::Choice>(),
      space.tokens.as<int>(),
      static_cast<int*>(model.host_tokens.device_data())};
  launch(model.stream, cuda_kernel("token/argmax", "argmax_rows"),
         {.grid_x = cuda::kArgmaxBlocks,
          .grid_y = static_cast<unsigned>(rows),
          .block = cuda::kArgmaxThreads,
          .shared_bytes = 256},
         args);
}

}  // namespace

void run_layers(CudaModel& model, std::span<const CudaSegment> segments,
                const CudaRope& rope, const std::int32_t* ids,
                CudaWanted wanted, float* x) {
  // Attention of many rows is on a matrix unit that knows 16 bits.
  const int longest = model.compute == cuda::NumberType::f32
                          ? cuda::kAttentionFewRows
                          : std::numeric_limits<int>::max();
  const auto pairs = static_cast<std::size_t>(model.params.heads.head_dim) / 2;
  for (const auto& part : cut(segments, rope, longest, pairs)) {
    const auto pass = make_pass(model, part.segments, rope);
    reserve(model, pass.rows);
    upload_periods(model, part.periods);
    const int* const there = upload_ids(model, ids, pass.rows);
    const float* hidden = model.space.x.as<const float>();
    if (pass.rows == 1 && model.decode) {
      const auto view = make_views(model, part.segments).front();
      model.decode->run(model, view, part.segments.front().offset, rope, there,
                        nullptr);
      hidden = model.decode->residual();
    } else {
      run_pass(pass, begin_args(model, part.segments, rope, there));
    }
    const auto width = static_cast<std::size_t>(model.hidden_size());
    const auto bring = [&](int first, int rows) {
      download(model.stream, x, hidden + first * width,
               rows * width * sizeof(float));
      x += rows * width;
    };
    if (wanted == CudaWanted::all) {
      bring(0, pass.rows);
    } else {
      for (const int row : part.last) bring(row, 1);
    }
    ids += pass.rows;
  }
}

void run_logits(CudaModel& model, const float* x, int rows) {
  auto* logits = model.space.logits.reserve<float>(
      static_cast<std::size_t>(rows) * model.vocab_size());
  multiply(model, model.lm_head(),
           {x, rows, &model.norm, model.params.rms_norm_eps},
           {logits, model.vocab_size(), cuda::Output::store});
}

void run_and_choose(CudaModel& model, std::span<const CudaSegment> segments,
                    const CudaRope& rope, const std::int32_t* ids,
                    const cuda::Draw& draw) {
  const auto pass = make_pass(model, segments, rope);
  const int rows = pass.rows;
  reserve(model, rows);
  reserve_choice(model, rows);
  upload_periods(model, rope.periods);
  const int* const there = ids == nullptr ? model.space.tokens.as<const int>()
                                          : upload_ids(model, ids, rows);
  const auto choice = next_choice(model, draw);
  if (rows == 1 && model.decode) {
    const auto view = make_views(model, segments).front();
    ++model.passes;
    return model.decode->run(model, view, segments.front().offset, rope, there,
                             &choice);
  }
  auto args = begin_args(model, segments, rope, there);
  args.choice = choice;
  const auto put_in = [&] {
    run_pass(pass, args);
    run_logits(model, model.space.x.as<const float>(), rows);
    choose_tokens(model, rows);
  };
  // Graphs know where the workspace was.
  if (model.graphs_growths != model.space.growths) model.graphs.clear();
  model.graphs_growths = model.space.growths;
  const auto key = std::pair(rows, pass.segments);
  const auto found = model.graphs.find(key);
  if (found == model.graphs.end()) {
    put_in();
    model.graphs.emplace(key, std::nullopt);
  } else {
    auto& graph = found->second;
    if (!graph) graph = Graph::capture(model.stream, put_in);
    graph->set_first_args(args);
    graph->launch(model.stream);
  }
  ++model.passes;
}

void choose_after(CudaModel& model, const float* x, int rows,
                  const cuda::Draw& draw) {
  reserve_choice(model, rows);
  const auto choice = next_choice(model, draw);
  upload(model.stream, model.space.choice.as<cuda::Choice>(), &choice,
         sizeof choice);
  run_logits(model, x, rows);
  choose_tokens(model, rows);
  ++model.passes;
}

}  // namespace llamlx
