#include "cuda/decode/portions.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/token/argmax.h"

namespace llamlx::cuda {
namespace {

TEST(Portions, CoverEachBlockOfRowsOnce) {
  const int products[] = {1, 2, 3, 7, 8, 9, 31, 100, 132, 133, 500, 1};
  for (int blocks = 1; blocks <= 140; ++blocks) {
    emulator::grid_dim = {static_cast<unsigned>(blocks), 1, 1};
    std::vector<int> places(static_cast<std::size_t>(blocks));
    for (int i = 0; i < blocks; ++i) places[static_cast<std::size_t>(i)] = i;
    std::vector<int> all(places.size());
    for (const int row_blocks : products) {
      std::vector<int> seen(static_cast<std::size_t>(row_blocks));
      const auto cut = cut_product({row_blocks, 3, 192, 0}, blocks);
      for (std::size_t i = 0; i < places.size(); ++i) {
        const auto portion = cut_portion(cut, places[i]);
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

/// Of a weight of tiles of so many bytes, how often walks pass each byte.
template <int kMost>
std::vector<int> walk_all(int row_tiles, int row_blocks, int tile_bytes) {
  std::vector<int> seen(
      static_cast<std::size_t>(row_blocks * row_tiles * tile_bytes));
  const std::vector<unsigned char> weight(seen.size());
  for (int warp = 0; warp < kDecodeWarps; ++warp) {
    const Columns columns(row_tiles, warp);
    for (Rounds rounds({0, row_blocks}); rounds.left > 0;) {
      const auto round = rounds.next();
      EXPECT_LE(round.count, kDecodeRoundBlocks);
      PortionWalk<kMost> walk(weight.data(), tile_bytes, round, row_tiles,
                              columns);
      for (; !walk.is_over(); walk.pass()) {
        EXPECT_GE(walk.together(), 1);
        EXPECT_LE(walk.segment_bytes() * walk.together(), kMost * tile_bytes);
        for (int i = 0; i < walk.together(); ++i) {
          const auto at = walk.from() - weight.data() + i * walk.row_bytes();
          for (int byte = 0; byte < walk.segment_bytes(); ++byte) {
            ++seen.at(static_cast<std::size_t>(at + byte));
          }
        }
      }
    }
  }
  return seen;
}
template <int kMost>
void expect_each_byte_once(int row_tiles, int row_blocks) {
  const auto seen = walk_all<kMost>(row_tiles, row_blocks, 3);
  ASSERT_EQ(seen, std::vector<int>(seen.size(), 1));
}

TEST(Portions, WalksPassEachTileOnce) {
  for (const int row_tiles : {1, 7, 8, 9, 32, 65, 172}) {
    for (const int row_blocks : {1, 2, 5, 16, 35}) {
      SCOPED_TRACE(::testing::Message() << row_tiles << " by " << row_blocks);
      expect_each_byte_once<1>(row_tiles, row_blocks);
      expect_each_byte_once<2>(row_tiles, row_blocks);
      expect_each_byte_once<4>(row_tiles, row_blocks);
      expect_each_byte_once<8>(row_tiles, row_blocks);
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
    its.partials_bytes = decode_partials_bytes(args, 3);
    return decode_memory({layout}, its).bytes;
  };
  for (int pieces = 1; pieces <= 16; ++pieces) {
    ASSERT_TRUE(fit_decode_memory({layout}, args, 3, bytes_of(pieces)));
    EXPECT_EQ(args.pieces, pieces);
    EXPECT_EQ(args.memory.bytes, bytes_of(pieces));
    ASSERT_EQ(fit_decode_memory({layout}, args, 3, bytes_of(pieces) - 1),
              pieces > 1);
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
    args.partials_bytes = decode_partials_bytes(args, 2);
    const auto memory = decode_memory(format, args);
    const std::pair<int, int> parts[] = {
        {memory.layers, 3 * int{sizeof(DecodeLayer)}},
        {memory.spans, 3 * int{sizeof(DecodeSpan)}},
        // Of five blocks of rows, twice.
        {memory.partials, 2 * 5 * kDecodeWarps * kTileRows * 4},
        {memory.squares, 2 * kDecodeWarps * 4},
        {memory.likeliest, kDecodeWarps * int{sizeof(LargestValue)}},
        {memory.input, std::max(kDecodeWarps * decode_input_bytes(layout),
                                decode_attention_bytes(64, 4))},
        {memory.barriers, 2 * kDecodeWarps * 8},
        {memory.ring, 2 * kDecodeWarps * decode_piece_bytes(format)}};
    int end = 0;
    for (const auto& [first, bytes] : parts) {
      EXPECT_GE(first, end);
      EXPECT_EQ(first % 128, 0);
      end = first + bytes;
    }
    EXPECT_LE(end, memory.bytes);
  }
}

}  // namespace
}  // namespace llamlx::cuda
