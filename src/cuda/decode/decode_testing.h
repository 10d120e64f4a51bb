#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "cuda/attention/attention_testing.h"
#include "cuda/decode/pieces.h"
#include "cuda/decode/short_testing.h"
#include "cuda/matmul/matmul_testing.h"
#include "cuda/token/argmax.h"

/// A decoder with random weights that decode.cu runs on the emulator.

namespace llamlx::cuda::testing {

/// "short_bf16": what kernels that read it are called.
inline std::string to_string(const DecodeFormat& format) {
  return (format.is_short ? "short_" : "") + cuda::to_string(format.layout);
}

struct DecodeSetting {
  DecodeFormat format{{NumberType::f16, 8, 32}};
  PackedLayout table{NumberType::f16, 0, 0};
  int hidden = 64;
  int heads = 4;
  int kv_heads = 2;
  int head_dim = 24;
  int inner = 64;
  int vocab = 37;
  int layers = 1;
  unsigned blocks = 3;
  int pieces = 0;  ///< of a ring; 0: as many as fit
  int splits = 0;  ///< of attention at most; 0: as many as blocks allow
  int offset = 5;  ///< of the first pass; there is room for four
  int window = 0;
  bool traditional = false;
  bool has_head_norms = false;
  bool has_biases = false;
  /// Of a short weight's rows all but every eighth have nothing else.
  bool has_exceptions = false;
  Draw draw{};
  int late_warp = -1;  ///< as EmulatedShape has it

  int most_splits() const {
    return splits > 0 ? splits
                      : attention_few_splits(decode_bundles(heads, kv_heads),
                                             static_cast<int>(blocks));
  }
};

/// A matrix in MLX's layout and packed; its bias in both orders, or nothing.
struct DecodeMatrix {
  std::vector<TestWeight> parts;  ///< one, or gate and up
  std::vector<Floats> biases;     ///< of each
  Packed packed;
  Shortened shortened;  ///< or nothing
  Floats packed_bias;

  const unsigned char* weight() const {
    return shortened.bytes.empty() ? packed.data() : shortened.tile(0);
  }
  const float* bias() const {
    return packed_bias.empty() ? nullptr : packed_bias.data();
  }
  ProductShape shape() const {
    return {packed.row_blocks, packed.tiles, packed.cols, packed.rows};
  }
};

struct DecodeWeights {
  std::vector<DecodeMatrix> products;  ///< in the order of Product
  Floats norms[2];
};

/// Of all layers only the last does something to the residual stream, but for
/// the biases of others: so all that the last computes can be looked at, step
/// by step, from what it computed before.
class DecodeModel {
 public:
  explicit DecodeModel(const DecodeSetting& setting) : set(setting) {
    for (int i = 0; i < set.layers; ++i) add_layer(i + 1 == set.layers);
    head = matrix(set.vocab, set.hidden);
    norm = random_floats(set.hidden, 5, 2);
    table.parts.push_back(random_weight(set.table, set.table.group, set.vocab,
                                        set.hidden, draw_));
    pack(table);
  }

  DecodeSetting set;
  std::vector<DecodeWeights> layers;
  DecodeMatrix head, table;
  Floats norm;

  void pack(DecodeMatrix& m) const {
    std::vector<const TestWeight*> sources;
    for (const auto& part : m.parts) sources.push_back(&part);
    m.packed = pack_weights(sources, sources.size() > 1);
    if (!set.format.is_short || &m == &table) return;
    m.shortened = shorten(m.packed);
    EXPECT_EQ(m.shortened.refused, 0U);
  }

 private:
  std::mt19937 draw_{7};
  unsigned seed_ = 100;

  TestWeight weight(int rows, int cols) {
    const auto& layout = set.format.layout;
    auto w = random_weight(layout, layout.group, rows, cols, draw_);
    if (set.has_exceptions) leave_exceptions(w);
    return w;
  }
  /// As many as every tile has room for, wherever gates and others meet. Rows
  /// with large numbers make exceptions of them.
  void leave_exceptions(TestWeight& w) {
    constexpr int kOfEightRows = kMostExceptions / 2;
    for (int row = 0; row < w.rows; ++row) {
      for (int col = 0; col < w.cols; ++col) {
        const int tile = col / kTileCols;
        const int its_row = (row % 8 + tile) % 7;
        const int width = std::min(w.cols - tile * kTileCols, kTileCols);
        const bool is_exception =
            row % 8 != 0 && its_row < kOfEightRows &&
            (11 * row + 5 * tile) % width == col % kTileCols;
        const auto at = Reference::index(row * w.cols + col);
        const auto value = static_cast<float>(w.values[at]);
        const bool is_large = row % 8 == 0 && std::abs(value) > 0x1p-6F;
        w.values[at] = put_number(w.data, w.layout.type, at,
                                  is_exception ? std::ldexp(value, -30)
                                  : is_large   ? value
                                               : 0);
        w.magnitudes[at] = std::abs(w.values[at]);
      }
    }
  }
  static void clear(TestWeight& w) {
    std::ranges::fill(w.data, 0U);
    std::ranges::fill(w.scales, 0U);
    std::ranges::fill(w.biases, 0U);
    std::ranges::fill(w.values, 0.0);
  }
  DecodeMatrix matrix(int rows, int cols, bool is_zero = false) {
    DecodeMatrix m;
    m.parts.push_back(weight(rows, cols));
    if (is_zero) clear(m.parts[0]);
    pack(m);
    if (!set.has_biases) return m;
    m.biases.push_back(random_floats(rows, ++seed_, 2));
    m.packed_bias = m.biases[0];
    return m;
  }
  DecodeMatrix gate_up() {
    DecodeMatrix m;
    for (int i = 0; i < 2; ++i)
      m.parts.push_back(weight(set.inner, set.hidden));
    pack(m);
    if (!set.has_biases) return m;
    m.packed_bias.resize(Reference::index(m.packed.row_blocks * kTileRows));
    for (int part = 0; part < 2; ++part) {
      m.biases.push_back(random_floats(set.inner, ++seed_, 2));
      for (int i = 0; i < set.inner; ++i) {
        m.packed_bias[Reference::index(i / 8 * 16 + 8 * part + i % 8)] =
            m.biases.back()[Reference::index(i)];
      }
    }
    return m;
  }
  void add_layer(bool is_last) {
    auto& layer = layers.emplace_back();
    const int width = set.heads * set.head_dim;
    const int all = width + 2 * set.kv_heads * set.head_dim;
    layer.products.push_back(matrix(all, set.hidden));
    layer.products.push_back(matrix(set.hidden, width, !is_last));
    layer.products.push_back(gate_up());
    layer.products.push_back(matrix(set.hidden, set.inner, !is_last));
    for (auto& weights : layer.norms) {
      weights = random_floats(set.hidden, ++seed_, 2);
    }
  }
};

/// What passes from block to block, zeros at first.
struct ExchangeMemory {
  Floats residual, middle, qkv, attended, hidden;
  std::vector<Words4> parts, likeliest;

  explicit ExchangeMemory(const DecodeSetting& set)
      : residual(Reference::index(set.hidden)),
        middle(residual),
        qkv(Reference::index((set.heads + 2 * set.kv_heads) * set.head_dim)),
        attended(Reference::index(set.heads * set.head_dim)),
        hidden(Reference::index(set.inner)),
        parts(attention_few_parts_bytes(1, set.heads, set.most_splits(),
                                        set.head_dim) /
              sizeof(Words4)),
        likeliest(set.blocks) {}

  DecodeExchange view() {
    return {residual.data(),
            middle.data(),
            qkv.data(),
            reinterpret_cast<float*>(parts.data()),
            attended.data(),
            hidden.data(),
            reinterpret_cast<std::uint32_t*>(likeliest.data())};
  }
};

/// Runs a model's tokens one after another. What the last layer has in its
/// cache, and what its attention is of, is `attention`.
class DecodeRun {
 public:
  static constexpr int kSlot = 5;
  static constexpr float kRopeScale = 0.75F;

  explicit DecodeRun(const DecodeModel& its_model)
      : exchange(its_model.set),
        attention({.type = its_model.set.format.layout.type,
                   .heads = its_model.set.heads,
                   .kv_heads = its_model.set.kv_heads,
                   .dim = its_model.set.head_dim,
                   .window = its_model.set.window,
                   .traditional = its_model.set.traditional,
                   .has_norms = its_model.set.has_head_norms,
                   .segments = {{its_model.set.offset, 1}}}),
        model_(its_model),
        set_(model_.set),
        next_(set_.offset) {
    fill_other_layer();
    make_layers();
    make_periods();
    make_args();
  }

  ExchangeMemory exchange;
  Pass attention;
  std::vector<std::vector<unsigned char>> caches_before;
  Floats periods;
  std::vector<int> host_tokens =
      std::vector<int>(kTokenSlotRows * kTokenSlots, -9);
  int token = -9;

  int position() const { return attention.segments()[0].offset; }

  /// Goes on with another position, of those that there are.
  void go_to(int next) { next_ = next; }

  /// The next token of the sequence.
  void run(int id, bool chooses) {
    token = -9;
    run(&id, chooses);
  }
  /// The same of one that the last pass chose.
  void go_on() { run(&token, true); }

 private:
  const DecodeModel& model_;
  const DecodeSetting& set_;
  DecodeArgs args_{};
  std::vector<DecodeLayer> layers_;
  std::vector<LayerWeights> weights_;
  PieceLists pieces_;
  int next_;  // position

  void run(const int* ids, bool chooses) {
    auto& view = attention.segments()[0];
    view.offset = next_++;
    forget(view.offset);
    caches_before = attention.caches;
    host_tokens[kSlot * kTokenSlotRows] = -9;
    args_.segment = view;
    // The last layer's cache is the second that there is room for.
    args_.segment.cache += (2 - set_.layers) * view.layer_bytes;
    set_turns();
    args_.ids = ids;
    args_.chooses = chooses;
    emulate("decode_" + to_string(set_.format),
            {.grid_x = set_.blocks,
             .block = kDecodeThreads,
             .shared_bytes = static_cast<unsigned>(args_.memory.bytes),
             .runs_together = true,
             .late_warp = set_.late_warp},
            args_);
    ++args_.passes;
    if (chooses) ++args_.choices;
    // Of other layers' caches nothing is known.
    std::copy_n(attention.caches[0].begin(), view.layer_bytes,
                caches_before[0].begin());
    attention.qkv = exchange.qkv;
    attention.out = exchange.attended;
    attention.cos_sin.assign(args_.turns, args_.turns + set_.head_dim);
  }
  void set_turns() {
    for (std::size_t i = 0; i < periods.size(); ++i) {
      const double angle = position() / double{periods[i]};
      args_.turns[i] = kRopeScale * static_cast<float>(std::cos(angle));
      args_.turns[periods.size() + i] =
          kRopeScale * static_cast<float>(std::sin(angle));
    }
  }
  /// What the last layer's cache has of a position.
  void forget(int position) {
    for (int kind = 0; kind < 2; ++kind) {
      for (int h = 0; h < set_.kv_heads; ++h) {
        auto* row =
            &attention
                 .caches[0][attention.at(0, Pass::kLayer, kind, h, position)];
        std::fill_n(row, 2 * set_.head_dim, 0xff);
      }
    }
  }
  void fill_other_layer() {
    const int numbers = set_.offset * set_.head_dim;
    for (int kind = 0; kind < 2; ++kind) {
      for (int h = 0; h < set_.kv_heads; ++h) {
        auto* to = &attention.caches[0][attention.at(0, 0, kind, h, 0)];
        for (int i = 0; i < numbers; ++i) {
          store(set_.format.layout.type, 0.01F * static_cast<float>(i % 100),
                to + 2 * i);
        }
      }
    }
  }
  void make_layers() {
    for (const auto& weights : model_.layers) {
      auto& layer = layers_.emplace_back();
      weights_.emplace_back();
      for (std::size_t i = 0; i < weights.products.size(); ++i) {
        weights_.back()[i] = weights.products[i].weight();
        layer.biases[i] = weights.products[i].bias();
      }
      for (int i = 0; i < 2; ++i) layer.norms[i] = weights.norms[i].data();
      const bool is_last = layers_.size() == model_.layers.size();
      layer.window = is_last ? set_.window : 1;
      if (!set_.has_head_norms) continue;
      layer.q_norm = (is_last ? attention.q_norm : attention.k_norm).data();
      layer.k_norm = (is_last ? attention.k_norm : attention.q_norm).data();
    }
  }
  void make_periods() {
    for (int i = 0; i < set_.head_dim / 2; ++i) {
      periods.push_back(std::pow(1.7F, static_cast<float>(i)));
    }
  }
  void make_args() {
    const auto& products = model_.layers.front().products;
    for (std::size_t i = 0; i < products.size(); ++i) {
      args_.shapes[i] = products[i].shape();
    }
    args_.shapes[kLayerProducts] = model_.head.shape();
    args_.choice = {kSlot, set_.draw};
    args_.layers = layers_.data();
    args_.num_layers = set_.layers;
    args_.head_bias = model_.head.bias();
    args_.norm = model_.norm.data();
    args_.eps = Pass::kEps;
    args_.exchange = exchange.view();
    args_.table = model_.table.packed.data();
    args_.table_layout = model_.table.packed.layout;
    args_.table_tiles = model_.table.packed.tiles;
    args_.vocab = set_.vocab;
    args_.num_heads = set_.heads;
    args_.num_kv_heads = set_.kv_heads;
    args_.head_dim = set_.head_dim;
    args_.traditional = set_.traditional;
    args_.tokens = &token;
    args_.host_tokens = host_tokens.data();
    const int blocks = static_cast<int>(set_.blocks);
    EXPECT_TRUE(fit_decode_memory(set_.format, args_, blocks, 227 << 10));
    pieces_ =
        list_pieces(set_.format, args_, blocks, weights_, model_.head.weight());
    args_.listed = pieces_.pieces.data();
    args_.lists = pieces_.lists.data();
    args_.attention = cut_attention(set_.heads, set_.kv_heads, set_.head_dim,
                                    set_.most_splits());
    if (set_.pieces == 0) return;
    args_.pieces = set_.pieces;
    args_.memory = decode_memory(set_.format, args_);
  }
};

}  // namespace llamlx::cuda::testing
