#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/decode/pieces.h"
#include "cuda/token/argmax.h"

namespace llamlx::cuda {
namespace {

TEST(Portions, CoverEachBlockOfRowsOnce) {
  const int products[] = {1, 2, 3, 7, 8, 9, 31, 100, 132, 133, 500, 1};
  for (int blocks = 1; blocks <= 140; ++blocks) {
    std::vector<int> places(static_cast<std::size_t>(blocks));
    for (int i = 0; i < blocks; ++i) places[static_cast<std::size_t>(i)] = i;
    std::vector<int> all(places.size());
    for (const int row_blocks : products) {
      std::vector<int> seen(static_cast<std::size_t>(row_blocks));
      const auto cut = cut_product({row_blocks, 3, 192, 0}, blocks);
      for (std::size_t i = 0; i < places.size(); ++i) {
        const auto portion = cut_portion(cut, blocks, places[i]);
        ASSERT_LE(portion.count, (row_blocks + blocks - 1) / blocks);
        all[i] += portion.count;
        for (int n = 0; n < portion.count; ++n) {
          ++seen.at(static_cast<std::size_t>(portion.first + n));
        }
      }
      ASSERT_EQ(seen, std::vector<int>(seen.size(), 1))
          << row_blocks << " among " << blocks;
      const auto [least, most] = std::ranges::minmax(all);
      ASSERT_LE(most - least, 1) << row_blocks << " among " << blocks;
    }
  }
}

TEST(Portions, DividesAsDivisionDoes) {
  for (int by = 1; by < 1 << 17; by += 1 + by / 3) {
    const Divider divider(by);
    const int most = std::min(8 * by, (1 << 24) - 2);
    for (int n = 0; n <= most; n += std::max(1, by / 2)) {
      for (const int near : {n - 1, n, n + 1}) {
        if (near < 0) continue;
        ASSERT_EQ(divider.divide(near), near / by) << near;
      }
    }
    // The largest that it is for.
    const auto last =
        static_cast<int>(std::min((1LL << 40) / by - 1, (1LL << 24) - 1));
    ASSERT_EQ(divider.divide(last), last / by) << by;
    ASSERT_EQ(divider.divide(last - last % by), last / by) << by;
    ASSERT_EQ(divider.divide(last - last % by - 1), last / by - 1) << by;
  }
}

/// Weights beside which it is counted how often pieces have each byte.
class CountedWeights {
 public:
  CountedWeights(int layers, int weight_bytes)
      : weight_bytes_(static_cast<std::size_t>(weight_bytes)),
        counts_(weight_bytes_ *
                static_cast<std::size_t>(kLayerProducts * layers + 1)) {
    const auto* next = counts_.data();
    for (int i = 0; i < layers; ++i) {
      for (auto& weight : layers_.emplace_back()) {
        weight = next;
        next += weight_bytes_;
      }
    }
    head_ = next;
  }

  PieceLists list(const DecodeFormat& format, const DecodeArgs& args,
                  int blocks) const {
    return list_pieces(format, args, blocks, layers_, head_);
  }
  void count(const DecodePiece& piece) {
    auto at = static_cast<std::size_t>(piece.from - counts_.data());
    for (int i = 0; i < piece.segments; ++i) {
      for (int byte = 0; byte < piece.segment_bytes; ++byte) {
        ++counts_.at(at + static_cast<std::size_t>(byte));
      }
      at += static_cast<std::size_t>(piece.row_bytes);
    }
  }
  /// Whether each byte of layers has been counted once, and of the head so
  /// often.
  bool are_counted(int of_head) const {
    const auto end = counts_.end() - static_cast<std::ptrdiff_t>(weight_bytes_);
    return std::all_of(counts_.begin(), end, [](int n) { return n == 1; }) &&
           std::all_of(end, counts_.end(), [&](int n) { return n == of_head; });
  }

 private:
  std::size_t weight_bytes_;
  std::vector<unsigned char> counts_;
  std::vector<LayerWeights> layers_;
  const unsigned char* head_;
};

void expect_each_byte_once(const DecodeFormat& format, int row_tiles,
                           int row_blocks) {
  constexpr int kBlocks = 3;
  DecodeArgs args{};
  for (int i = 0; i <= kLayerProducts; ++i) {
    args.shapes[i] = {row_blocks, row_tiles, 0, 0};
    args.cuts[i] = cut_product(args.shapes[i], kBlocks);
  }
  CountedWeights weights(2, row_blocks * row_tiles * format.tile_bytes());
  const auto lists = weights.list(format, args, kBlocks);
  ASSERT_EQ(lists.lists.size(), std::size_t{kBlocks * kDecodeWarps});
  const auto count = [&](const DecodeList& list, int begin, int end) {
    for (int i = list.first + begin; i < list.first + end; ++i) {
      const auto& piece = lists.pieces.at(static_cast<std::size_t>(i));
      ASSERT_GE(piece.segments, 1);
      ASSERT_LE(piece.segments * piece.segment_bytes,
                decode_piece_bytes(format));
      weights.count(piece);
    }
  };
  for (const auto& list : lists.lists) count(list, 0, list.of_layers);
  ASSERT_TRUE(weights.are_counted(0));
  for (const auto& list : lists.lists) count(list, list.of_layers, list.all);
  ASSERT_TRUE(weights.are_counted(1));
  const auto& last = lists.lists.back();
  ASSERT_EQ(lists.pieces.size(),
            static_cast<std::size_t>(last.first + last.all) + kDecodeListed);
}

TEST(Portions, PiecesHaveEachByteOnce) {
  const DecodeFormat formats[] = {{{NumberType::f16, 0, 0}},
                                  {{NumberType::bf16, 0, 0}, true},
                                  {{NumberType::f16, 4, 64}},
                                  {{NumberType::f16, 8, 32}}};
  for (const auto& format : formats) {
    for (const int row_tiles : {1, 7, 8, 9, 32, 65, 172}) {
      for (const int row_blocks : {1, 2, 5, 53}) {
        SCOPED_TRACE(::testing::Message() << format.tile_bytes() << " bytes, "
                                          << row_tiles << " by " << row_blocks);
        expect_each_byte_once(format, row_tiles, row_blocks);
      }
    }
  }
}

TEST(DecodeAttention, SplitsHaveEachPositionOnce) {
  for (const int window : {0, 1, 100, 700}) {
    for (const int splits : {1, 2, 7, 16}) {
      for (int position = 0; position < 5000;
           position += position < 700 ? 1 : 61) {
        const auto span = decode_span(position, window, 16, splits);
        const int first = window > 0 ? std::max(0, position + 1 - window) : 0;
        const int count = position + 1 - first;
        ASSERT_EQ(span.first, first);
        ASSERT_EQ(span.length % 16, 0);
        ASSERT_GE(span.length, 128);
        ASSERT_LE(span.used, splits);
        ASSERT_LT((span.used - 1) * span.length, count);
        ASSERT_GE(span.used * span.length, count);
        ASSERT_TRUE(span.length == 128 || count > splits * 128);
      }
    }
  }
}

TEST(DecodeAttention, SharesCoverEachBundle) {
  for (const int group : {1, 3, 8, 20}) {
    for (const int splits : {1, 2, 5, 64}) {
      const auto cut = cut_attention(group * 2, 2, 72, splits);
      EXPECT_EQ(cut.bundles, (group + 7) / 8 * 2);
      EXPECT_GE(cut.share * splits, std::min(group, 8) * 72 / 4);
      EXPECT_LE(cut.share, kDecodeThreads);
    }
  }
}

DecodeArgs small_args() {
  DecodeArgs args{};
  args.num_layers = 3;
  args.num_heads = 8;
  args.num_kv_heads = 2;
  args.head_dim = 64;
  for (auto& shape : args.shapes) shape = {9, 4, 256, 144};
  return args;
}

TEST(DecodeMemory, HasAsManyPiecesAsFit) {
  const PackedLayout layout{NumberType::bf16, 4, 64};
  auto args = small_args();
  const auto bytes_of = [&](int pieces) {
    auto its = args;
    its.pieces = pieces;
    return decode_memory({layout}, its).bytes;
  };
  for (int pieces = 2; pieces <= 16; ++pieces) {
    ASSERT_TRUE(fit_decode_memory({layout}, args, 3, bytes_of(pieces)));
    EXPECT_EQ(args.pieces, pieces);
    EXPECT_EQ(args.memory.bytes, bytes_of(pieces));
    ASSERT_EQ(fit_decode_memory({layout}, args, 3, bytes_of(pieces) - 1),
              pieces > 2);
    EXPECT_EQ(args.pieces, pieces - 1);
  }
  ASSERT_TRUE(fit_decode_memory({layout}, args, 3, bytes_of(100)));
  EXPECT_EQ(args.pieces, 16);
}

TEST(DecodeMemory, PartsLieBesideEachOther) {
  for (const auto& format : {DecodeFormat{{NumberType::f16, 0, 0}},
                             DecodeFormat{{NumberType::bf16, 0, 0}, true},
                             DecodeFormat{{NumberType::f16, 3, 32}}}) {
    const auto& layout = format.layout;
    auto args = small_args();
    args.pieces = 2;
    const auto memory = decode_memory(format, args);
    const std::pair<int, int> parts[] = {
        {memory.kSquares, 2 * kDecodeWarps * 4},
        {memory.kLikeliest, kDecodeWarps * int{sizeof(LargestValue)}},
        {memory.kPartials, 2 * kPartialBlocks * kPartialFloats * 4},
        {memory.kLists,
         kDecodeWarps * int{kDecodeListed * sizeof(DecodePiece)}},
        {memory.kBarriers, kDecodeMostPieces * kDecodeWarps * 8},
        {memory.kTurns, kDecodeLargestHead * 4},
        {memory.kInput, std::max(kDecodeWarps * decode_input_bytes(layout),
                                 decode_attention_bytes(64, 4))},
        {memory.layers, 3 * int{sizeof(DecodeLayer)}},
        {memory.spans, 3 * int{sizeof(DecodeSpan)}},
        {memory.ring, 2 * kDecodeWarps * decode_piece_bytes(format)}};
    int end = 0;
    for (const auto& [first, bytes] : parts) {
      EXPECT_GE(first, end);
      EXPECT_EQ(first % 16, 0);
      end = first + bytes;
    }
    EXPECT_LE(end, memory.bytes);
  }
}

}  // namespace
}  // namespace llamlx::cuda
