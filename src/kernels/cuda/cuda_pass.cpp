#include "kernels/cuda/cuda_pass.h"

#include <algorithm>
#include <limits>

#include "base/concat.h"
#include "cuda/attention/few_rows.h"
#include "cuda/attention/many_rows_hopper.h"
#include "cuda/attention/turn.h"
#include "cuda/kernel.h"
#include "cuda/modules.h"
#include "cuda/token/argmax.h"
#include "cuda/token/begin.h"
#include "kernels/cuda/ceil_div.h"
#include "kernels/cuda/cuda_expand.h"
#include "kernels/cuda/cuda_mlp.h"
#include "kernels/cuda/cuda_products.h"

namespace llamlx {
namespace {

/// A pass while its kernels are put into the stream.
struct Pass {
  CudaModel& model;
  int rows;
  int segments;
  int longest;  // of the segments
  bool traditional;

  CudaWorkspace& space() const { return model.space; }
  bool has_few_rows() const { return longest <= cuda::kAttentionFewRows; }
};

Pass make_pass(CudaModel& model, std::span<const CudaSegment> segments,
               const CudaRope& rope) {
  Pass pass{model, 0, static_cast<int>(segments.size()), 0, rope.traditional};
  for (const auto& segment : segments) {
    pass.rows += segment.length;
    pass.longest = std::max(pass.longest, segment.length);
  }
  return pass;
}

/// Splits of each of so many segments. Of several, whose positions differ, a
/// multiprocessor has two at a time.
int attention_splits(const CudaModel& model, int segments) {
  return cuda::attention_few_splits(
      model.params.heads.num_key_value_heads * segments,
      (segments > 1 ? 2 : 1) * model.device.multiprocessors);
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

void begin(const Pass& pass, const cuda::BeginArgs& args) {
  pass.space().turn = 0;  // so that all passes reserve alike
  launch(pass.model.stream, cuda_kernel("token/begin", "begin_pass"),
         {.grid_x = static_cast<unsigned>(pass.rows)}, args);
}

/// Attention of segments of few rows, with all that comes before it; whether
/// the answers are operands of the product that follows.
bool attend_few(const Pass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  cuda::AttentionFewArgs args{};
  args.segments = pass.space().segments.as<const cuda::SegmentView>();
  args.layer = layer;
  args.num_heads = heads.num_attention_heads;
  args.num_kv_heads = heads.num_key_value_heads;
  args.head_dim = heads.head_dim;
  args.window = weights.window;
  args.qkv = pass.space().qkv.as<const float>();
  args.q_norm = weights.q_norm.data();
  args.k_norm = weights.k_norm.data();
  args.eps = model.params.rms_norm_eps;
  args.cos_sin = pass.space().cos_sin.as<const float>();
  args.traditional = pass.traditional;
  args.out = pass.space().attended.as<float>();
  if (heads.head_dim % cuda::kTileCols == 0) {
    const auto target = operands_for(model, {&weights.o_proj}, pass.rows);
    args.next = target.next.stages;
    args.next_type = target.type;
  }
  args.parts = pass.space().parts.as<float>();
  args.counters = pass.space().counters.as<unsigned>();
  const auto name = concat("attention_few_", type_name(model.cached), "_d",
                           cuda::attention_padded_dim(heads.head_dim));
  launch(
      model.stream, cuda_kernel("attention/few_rows", name),
      {.grid_x = static_cast<unsigned>(heads.num_key_value_heads),
       .grid_y = static_cast<unsigned>(attention_splits(model, pass.segments)),
       .grid_z = static_cast<unsigned>(pass.segments),
       .block = cuda::kAttentionFewThreads,
       .shared_bytes = static_cast<unsigned>(
           cuda::attention_few_shared_bytes(model.cached, heads.head_dim))},
      args);
  return args.next.bytes != nullptr;
}

/// Norms and turns queries and keys, and appends to the caches.
void turn(const Pass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  cuda::TurnArgs args{};
  args.segments = pass.space().segments.as<const cuda::SegmentView>();
  args.layer = layer;
  args.num_heads = heads.num_attention_heads;
  args.num_kv_heads = heads.num_key_value_heads;
  args.head_dim = heads.head_dim;
  args.rows = pass.rows;
  args.qkv = pass.space().qkv.as<const float>();
  args.q_norm = weights.q_norm.data();
  args.k_norm = weights.k_norm.data();
  args.eps = model.params.rms_norm_eps;
  args.cos_sin = pass.space().cos_sin.as<const float>();
  args.traditional = pass.traditional;
  args.q = pass.space().queries.as<std::uint16_t>();
  const auto* cached = model.has_rounded_caches() ? "q8_" : "";
  launch(model.stream,
         cuda_kernel("attention/turn",
                     concat("turn_rows_", cached, type_name(model.compute))),
         {.grid_x = static_cast<unsigned>(pass.longest),
          .grid_y = static_cast<unsigned>(pass.segments),
          .block = cuda::kTurnThreads},
         args);
}

/// By warpgroups, or as many rows a block as keep the GPU busy.
struct AttentionShape {
  std::string kernel;
  int block_rows;
  unsigned threads;
  int shared_bytes;
};

AttentionShape attention_shape(const Pass& pass) {
  const auto& model = pass.model;
  const auto& heads = model.params.heads;
  const int dim = cuda::attention_padded_dim(heads.head_dim);
  const auto suffix = concat(type_name(model.compute), "_d", dim);
  if (has_warpgroups(model.device) &&
      cuda::attention_hopper_takes(heads.head_dim)) {
    return {concat("attention_hopper_", suffix), cuda::kAttentionHopperRows,
            cuda::kAttentionHopperThreads,
            cuda::attention_hopper_shared_bytes(heads.head_dim)};
  }
  const auto large_blocks = ceil_div<unsigned>(pass.longest, 128) *
                            static_cast<unsigned>(heads.num_attention_heads);
  const bool is_large = dim <= 128 && static_cast<int>(large_blocks) >=
                                          2 * model.device.multiprocessors;
  const int rows = is_large ? 128 : 64;
  return {concat("attention_many_", suffix, "_r", rows), rows,
          cuda::kAttentionManyThreads,
          cuda::attention_many_shared_bytes(heads.head_dim)};
}

/// Whether the answers are operands of the product that follows.
bool attend_many(const Pass& pass, int layer) {
  auto& model = pass.model;
  const auto& heads = model.params.heads;
  const auto& weights = model.layers[static_cast<std::size_t>(layer)];
  const auto shape = attention_shape(pass);
  const auto num_heads = static_cast<unsigned>(heads.num_attention_heads);
  const auto row_blocks = ceil_div<unsigned>(pass.longest, shape.block_rows);
  const auto segments = static_cast<unsigned>(pass.segments);
  const bool is_hopper = shape.threads == cuda::kAttentionHopperThreads;
  const bool is_expanded = model.has_rounded_caches();
  const auto& views = is_expanded ? pass.space().expanded_caches.segments
                                  : pass.space().segments;
  const cuda::AttentionManyArgs args{
      views.as<const cuda::SegmentView>(),
      is_expanded ? 0 : layer,
      heads.num_attention_heads,
      heads.num_key_value_heads,
      heads.head_dim,
      weights.window,
      pass.rows,
      pass.space().queries.as<const std::uint16_t>(),
      pass.space().attended.as<float>(),
      pass.segments,
      static_cast<int>(row_blocks),
      is_hopper ? handed_operands(model, weights.o_proj, pass.rows) : nullptr};
  LaunchShape grid{.grid_x = num_heads,
                   .grid_y = row_blocks,
                   .grid_z = segments,
                   .block = shape.threads,
                   .shared_bytes = static_cast<unsigned>(shape.shared_bytes)};
  if (is_hopper) {
    const auto most = static_cast<unsigned>(model.device.multiprocessors);
    grid.grid_x = std::min(num_heads * row_blocks * segments, most);
    grid.grid_y = grid.grid_z = 1;
  }
  launch(model.stream,
         cuda_kernel(
             is_hopper ? "attention/many_rows_hopper" : "attention/many_rows",
             shape.kernel),
         grid, args);
  return args.operands != nullptr;
}

bool attend(const Pass& pass, int layer) {
  if (pass.has_few_rows()) return attend_few(pass, layer);
  turn(pass, layer);
  if (pass.model.has_rounded_caches()) {
    expand_cache(pass.model, layer, pass.segments);
  }
  return attend_many(pass, layer);
}

/// Queries, keys and values of all rows, side by side.
void project(const Pass& pass, const CudaLayer& layer, const ProductRows& x) {
  auto* out = pass.space().qkv.as<float>();
  for (const auto& matrix : layer.qkv) {
    multiply(pass.model, matrix, x,
             {out, pass.model.qkv_width(), cuda::Output::store});
    out += matrix.rows;
  }
}

/// What reads the residual stream first after a layer.
NextProduct next_of_layer(const CudaModel& model, std::size_t index) {
  if (index + 1 == model.layers.size()) return {};
  const auto& next = model.layers[index + 1];
  if (next.qkv.size() != 1) return {};
  return {&next.qkv.front(), &next.input_layernorm};
}

/// Whether its input is operands already; whether those of the next layer are.
bool run_layer(const Pass& pass, int index, bool are_operands) {
  auto& model = pass.model;
  auto& space = pass.space();
  const auto at = static_cast<std::size_t>(index);
  const auto& layer = model.layers[at];
  const float eps = model.params.rms_norm_eps;
  auto* x = space.x.as<float>();
  ProductTarget residual{x, model.hidden_size(), cuda::Output::add};
  project(pass, layer,
          {x, pass.rows, &layer.input_layernorm, eps, are_operands});
  are_operands = attend(pass, index);
  residual.next = first_of_mlp(model, layer, pass.rows);
  are_operands = multiply(model, layer.o_proj,
                          {.x = space.attended.as<const float>(),
                           .rows = pass.rows,
                           .are_operands = are_operands},
                          residual);
  residual.next = next_of_layer(model, at);
  return run_mlp(
      model, layer,
      {x, pass.rows, &layer.post_attention_layernorm, eps, are_operands},
      residual);
}

void run_pass(const Pass& pass, const cuda::BeginArgs& args) {
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
