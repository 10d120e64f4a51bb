#include <algorithm>
#include <cmath>
#include <limits>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/attention/attention_testing.h"
#include "cuda/attention/expand_cache.h"
#include "cuda/attention/many_rows_hopper.h"
#include "cuda/attention/turn.h"
#include "cuda/kernel.h"
#include "cuda/matmul/stages_testing.h"
#include "cuda/testing.h"

namespace llamlx::cuda {
namespace {

using testing::Pass;
using testing::Reference;
using testing::Setting;
using testing::type_name;

/// Turns queries [H, rows, Dh] of the pass's type.
std::vector<std::uint16_t> turn(Pass& pass, int longest) {
  const auto& set = pass.set;
  std::vector<std::uint16_t> q(
      static_cast<std::size_t>(set.heads * set.rows() * set.dim), 0xffff);
  const TurnArgs args{.segments = pass.segments(),
                      .layer = Pass::kLayer,
                      .num_heads = set.heads,
                      .num_kv_heads = set.kv_heads,
                      .head_dim = set.dim,
                      .rows = set.rows(),
                      .qkv = pass.qkv.data(),
                      .q_norm = set.has_norms ? pass.q_norm.data() : nullptr,
                      .k_norm = set.has_norms ? pass.k_norm.data() : nullptr,
                      .eps = Pass::kEps,
                      .cos_sin = pass.cos_sin.data(),
                      .traditional = set.traditional,
                      .q = q.data()};
  emulate((set.type == NumberType::q8 ? "turn_rows_q8_" : "turn_rows_") +
              type_name(set.query_type()),
          {.grid_x = static_cast<unsigned>(longest),
           .grid_y = static_cast<unsigned>(set.segments.size()),
           .block = kTurnThreads},
          args);
  return q;
}

/// A query that turn() left.
testing::Doubles query_of(const Pass& pass, const std::vector<std::uint16_t>& q,
                          int row, int head) {
  const auto& set = pass.set;
  const auto* from =
      &q[static_cast<std::size_t>((head * set.rows() + row) * set.dim)];
  testing::Doubles x;
  for (int i = 0; i < set.dim; ++i) {
    x.push_back(set.query_type() == NumberType::f16
                    ? emulator::from_f16(from[i])
                    : emulator::from_bf16(from[i]));
  }
  return x;
}

/// Whether these are the pass's queries.
void expect_turned(const Pass& pass, const std::vector<std::uint16_t>& q) {
  const auto& set = pass.set;
  const Reference reference(pass);
  for (int row = 0; row < set.rows(); ++row) {
    for (int head = 0; head < set.heads; ++head) {
      const auto want = reference.scaled_query(row, head);
      const auto got = query_of(pass, q, row, head);
      const double size = testing::largest_of(want);
      for (std::size_t i = 0; i < want.size(); ++i) {
        EXPECT_NEAR(got[i], want[i],
                    testing::unit(set.query_type()) * std::abs(want[i]) +
                        32 * testing::kUnit * size + 0x1p-25);
      }
    }
  }
}

/// On the GPU, whose matrix unit the emulator does not have: `args` of arrays
/// of the machine.
void attend_by_warpgroups(Pass& pass, AttentionManyArgs args,
                          const std::vector<std::uint16_t>& q) {
  const auto& set = pass.set;
  Stream stream;
  std::vector<DeviceBuffer> caches;
  std::vector<SegmentView> segments(pass.segments(),
                                    pass.segments() + set.segments.size());
  for (std::size_t i = 0; i < segments.size(); ++i) {
    caches.push_back(copy_to_gpu(stream, pass.caches[i]));
    segments[i].cache = caches.back().as<unsigned char>();
  }
  const auto views = copy_to_gpu(stream, segments);
  const auto queries = copy_to_gpu(stream, q);
  const auto out = copy_to_gpu(stream, pass.out);
  args.segments = views.as<SegmentView>();
  args.q = queries.as<std::uint16_t>();
  args.out = out.as<float>();
  const auto& kernel =
      cuda_kernel("attention/many_rows_hopper",
                  "attention_hopper_" + type_name(set.type) + "_d" +
                      std::to_string(attention_padded_dim(set.dim)));
  // Fewer blocks than there is to do.
  const LaunchShape shape{.grid_x = 3,
                          .block = kAttentionHopperThreads,
                          .shared_bytes = static_cast<unsigned>(
                              attention_hopper_shared_bytes(set.dim))};
  launch(stream, kernel, shape, args);
  download(stream, pass.out.data(), out.data(), out.bytes());
  stream.synchronize();
  const int cols = set.heads * set.dim;
  if (cols % kTileCols != 0) return;
  std::vector<std::uint16_t> handed(pass.out.size(), 0xffff);
  const auto next = copy_to_gpu(stream, handed);
  args.out = nullptr;
  args.operands = next.as<std::uint16_t>();
  launch(stream, kernel, shape, args);
  download(stream, handed.data(), next.data(), next.bytes());
  stream.synchronize();
  expect_handed(handed, pass.out, set.rows(), cols);
}

/// `block_rows`: of a block of threads; 0: by warpgroups.
void attend_many(Pass& pass, const std::vector<std::uint16_t>& q, int longest,
                 int block_rows) {
  const auto& set = pass.set;
  const int rows = block_rows == 0 ? kAttentionHopperRows : block_rows;
  const AttentionManyArgs args{
      .segments = pass.segments(),
      .layer = Pass::kLayer,
      .num_heads = set.heads,
      .num_kv_heads = set.kv_heads,
      .head_dim = set.dim,
      .window = set.window,
      .rows = set.rows(),
      .q = q.data(),
      .out = pass.out.data(),
      .num_segments = static_cast<int>(set.segments.size()),
      .row_blocks = (longest + rows - 1) / rows};
  if (block_rows == 0) return attend_by_warpgroups(pass, args, q);
  emulate("attention_many_" + type_name(set.type) + "_d" +
              std::to_string(attention_padded_dim(set.dim)) + "_r" +
              std::to_string(block_rows),
          {.grid_x = static_cast<unsigned>(set.heads),
           .grid_y = static_cast<unsigned>(args.row_blocks),
           .grid_z = static_cast<unsigned>(set.segments.size()),
           .block = kAttentionManyThreads,
           .shared_bytes =
               static_cast<unsigned>(attention_many_shared_bytes(set.dim))},
          args);
}

void expect_many(const Setting& set, int block_rows) {
  SCOPED_TRACE(::testing::Message()
               << "type " << static_cast<int>(set.type) << " heads "
               << set.heads << "/" << set.kv_heads << " dim " << set.dim
               << " window " << set.window << " offset "
               << set.segments[0].offset << " length " << set.segments[0].length
               << " blocks of " << block_rows);
  Pass pass(set);
  const auto before = pass.caches;
  int longest = 0;
  for (const auto& s : set.segments) longest = std::max(longest, s.length);
  const auto q = turn(pass, longest);
  expect_appended(pass, before);
  expect_turned(pass, q);
  // What became of the queries is taken as given.
  const auto query = [&](int row, int head) {
    return query_of(pass, q, row, head);
  };
  attend_many(pass, q, longest, block_rows);
  expect_near_reference(pass, query, {0, testing::unit(set.type)});
}

constexpr NumberType kShortTypes[] = {NumberType::f16, NumberType::bf16};

TEST(AttentionManyTest, PromptsOfAnyLength) {
  for (const auto type : kShortTypes) {
    for (const int rows : {64, 128}) {
      for (const int length : {1, 17, 64, 65, 150}) {
        expect_many({.type = type, .heads = 2, .segments = {{0, length}}},
                    rows);
      }
    }
  }
}

TEST(AttentionManyTest, GoesOnAtAnyOffset) {
  for (const auto type : kShortTypes) {
    for (const int offset : {1, 63, 64, 200}) {
      expect_many({.type = type, .heads = 1, .segments = {{offset, 70}}}, 64);
    }
    expect_many({.type = type, .heads = 1, .segments = {{1000, 20}}}, 128);
  }
}

TEST(AttentionManyTest, AnyGroupOfHeads) {
  for (const auto type : kShortTypes) {
    expect_many(
        {.type = type, .heads = 2, .kv_heads = 2, .segments = {{30, 20}}}, 64);
    expect_many(
        {.type = type, .heads = 8, .kv_heads = 1, .segments = {{30, 20}}}, 64);
  }
}

TEST(AttentionManyTest, AnyHeadDim) {
  for (const auto type : kShortTypes) {
    for (const int dim : {8, 48, 72, 80, 96, 128, 136, 256}) {
      for (const int rows : {64, 128}) {
        if (rows == 128 && dim > 128) continue;
        expect_many({.type = type,
                     .heads = 1,
                     .dim = dim,
                     .traditional = dim % 16 == 0,
                     .has_norms = true,
                     .segments = {{50, 40}}},
                    rows);
      }
    }
  }
}

TEST(AttentionManyTest, SeesOnlyTheWindow) {
  for (const auto type : kShortTypes) {
    for (const int window : {1, 30, 100}) {
      for (const int rows : {64, 128}) {
        expect_many({.type = type,
                     .heads = 1,
                     .window = window,
                     .segments = {{90, 140}}},
                    rows);
      }
    }
  }
}

TEST(AttentionManyTest, SegmentsDoNotMix) {
  for (const int rows : {64, 128}) {
    expect_many({.type = NumberType::bf16,
                 .heads = 4,
                 .kv_heads = 2,
                 .traditional = true,
                 .segments = {{3, 70}, {0, 0}, {100, 5}, {0, 130}}},
                rows);
  }
}

/// Those of tokens of many rows, where caches have 8 bits.
TEST(TurnTest, RoundsKeysAndValuesTo8Bits) {
  for (const auto type : kShortTypes) {
    for (const int dim : {8, 64, 72, 80, 128, 136, 256}) {
      for (const bool traditional : {false, true}) {
        Pass pass({.type = NumberType::q8,
                   .short_type = type,
                   .kv_heads = 2,
                   .dim = dim,
                   .traditional = traditional,
                   .has_norms = dim != 72,
                   .segments = {{3, 9}, {0, 0}, {70, 2}}});
        const auto before = pass.caches;
        const auto q = turn(pass, 9);
        expect_appended(pass, before);
        expect_turned(pass, q);
      }
    }
  }
}

/// What is not finite would else be among numbers that are.
TEST(TurnTest, KeepsAGroupFromBeingFiniteThatIsNot) {
  for (const float wrong : {std::numeric_limits<float>::quiet_NaN(),
                            std::numeric_limits<float>::infinity()}) {
    Pass pass(
        {.type = NumberType::q8, .heads = 1, .dim = 136, .segments = {{0, 9}}});
    constexpr int kRow = 4, kElement = 70;
    pass.qkv[(3 * kRow + 2) * 136 + kElement] = wrong;  // a value's
    turn(pass, 9);
    for (int i = 0; i < 136; ++i) {
      EXPECT_EQ(std::isnan(pass.cached(0, 1, 0, kRow, i)),
                i / kCacheGroup == kElement / kCacheGroup);
      EXPECT_TRUE(std::isfinite(pass.cached(0, 0, 0, kRow, i)));
    }
  }
}

/// Whether a layer's numbers become those of 16 bits, where a pass sees them.
void expect_expanded(const Setting& set) {
  SCOPED_TRACE(::testing::Message()
               << "type " << static_cast<int>(set.short_type) << " dim "
               << set.dim << " window " << set.window);
  Pass pass(set);
  // Caches of 16 bits that begin with what the window shows.
  std::vector<std::vector<std::uint16_t>> expanded;
  std::vector<Words4> views(2 * set.segments.size());
  auto* view = reinterpret_cast<SegmentView*>(views.data());
  std::vector<int> firsts;
  int most = 0;
  for (const auto& [offset, length] : set.segments) {
    const int first = set.window > 0 ? std::max(0, offset + 1 - set.window) : 0;
    const int count = offset + length - first;
    firsts.push_back(first);
    most = std::max(most, count);
    auto& numbers = expanded.emplace_back(
        static_cast<std::size_t>(2 * set.kv_heads * count * set.dim), 0xffff);
    *view++ = {reinterpret_cast<unsigned char*>(numbers.data()),
               0,
               count,
               offset - first,
               0,
               length};
  }
  // New rows are there too.
  turn(pass, set.segments.front().length);
  emulate("expand_cache_" + type_name(set.short_type),
          {.grid_x = static_cast<unsigned>((most + kExpandCachePositions - 1) /
                                           kExpandCachePositions),
           .grid_y = static_cast<unsigned>(2 * set.kv_heads),
           .grid_z = static_cast<unsigned>(set.segments.size()),
           .block = kExpandCacheThreads},
          ExpandCacheArgs{
              .segments = pass.segments(),
              .expanded = reinterpret_cast<const SegmentView*>(views.data()),
              .layer = Pass::kLayer,
              .num_kv_heads = set.kv_heads,
              .head_dim = set.dim,
              .window = set.window});
  for (std::size_t s = 0; s < expanded.size(); ++s) {
    const auto [offset, length] = set.segments[s];
    const auto* got = expanded[s].data();
    for (int head = 0; head < 2 * set.kv_heads; ++head) {
      for (int p = firsts[s]; p < offset + length; ++p) {
        for (int i = 0; i < set.dim; ++i) {
          const auto want = static_cast<float>(
              pass.cached(s, head / set.kv_heads, head % set.kv_heads, p, i));
          ASSERT_EQ(*got++, set.short_type == NumberType::f16
                                ? emulator::to_f16(want)
                                : emulator::to_bf16(want))
              << "segment " << s << " head " << head << " position " << p;
        }
      }
    }
  }
}

TEST(ExpandCacheTest, MakesNumbersOf16Bits) {
  for (const auto type : kShortTypes) {
    for (const int dim : {8, 64, 72, 128, 256}) {
      for (const int window : {0, 20}) {
        expect_expanded({.type = NumberType::q8,
                         .short_type = type,
                         .heads = 2,
                         .kv_heads = 2,
                         .dim = dim,
                         .window = window,
                         .segments = {{100, 9}, {0, 9}, {5, 1}}});
      }
    }
  }
}

class GpuAttentionTest : public ::testing::Test {
 protected:
  void SetUp() override { llamlx::testing::skip_without_warpgroups(); }
};

TEST_F(GpuAttentionTest, IsRightByWarpgroups) {
  for (const auto type : kShortTypes) {
    for (const int length : {1, 65, 128, 300}) {
      expect_many({.type = type, .heads = 2, .segments = {{0, length}}}, 0);
    }
    for (const int offset : {1, 127, 128, 500}) {
      expect_many({.type = type, .heads = 1, .segments = {{offset, 70}}}, 0);
    }
    for (const int dim : {8, 48, 64, 72, 96, 128}) {
      expect_many({.type = type,
                   .heads = 4,
                   .kv_heads = 2,
                   .dim = dim,
                   .has_norms = true,
                   .segments = {{150, 140}}},
                  0);
    }
    for (const int window : {1, 30, 200}) {
      expect_many({.type = type,
                   .heads = 1,
                   .window = window,
                   .segments = {{290, 200}}},
                  0);
    }
    expect_many({.type = type,
                 .heads = 4,
                 .kv_heads = 2,
                 .traditional = true,
                 .segments = {{3, 70}, {0, 0}, {100, 5}, {0, 290}}},
                0);
  }
}

}  // namespace
}  // namespace llamlx::cuda
