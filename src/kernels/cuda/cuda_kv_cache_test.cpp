#include "kernels/cuda/cuda_kv_cache.h"

#include <optional>

#include <gtest/gtest.h>

#include "cuda/cached_rows.h"
#include "cuda/testing.h"

namespace llamlx {
namespace {

constexpr int kWindow = 700;
constexpr int kHeads = 3;
constexpr int kDim = 8;
// Of each of two layers' keys and values.
constexpr int kRows = 2 * 2 * kHeads;

CudaKVStore::Shape shape_of(int window,
                            cuda::NumberType type = cuda::NumberType::f32) {
  return {type, 2, kHeads, kDim, window};
}

/// A store whose bytes say, as floats, of which head and position they are.
class CudaKVStoreTest : public testing::GpuTest {
 protected:
  void SetUp() override {
    GpuTest::SetUp();
    if (!IsSkipped()) stream_.emplace();
  }

  /// What a head has of each position: a row, and scales.
  struct Plane {
    int floats;
    long long at;
  };
  std::vector<Plane> planes(const cuda::SegmentView& view) const {
    const int row = cuda::cached_row_bytes(type_, kDim);
    return {{row / 4, 0},
            {cuda::cached_row_scales(type_, kDim),
             static_cast<long long>(view.capacity) * row}};
  }
  static std::vector<float> numbers(int head, int first, int count,
                                    int floats) {
    std::vector<float> result;
    for (int i = 0; i < count * floats; ++i) {
      result.push_back(static_cast<float>(head * 100'000 + first + i / floats));
    }
    return result;
  }
  /// Where kernels find a position (segment.h).
  unsigned char* place(const cuda::SegmentView& view, int head,
                       const Plane& plane, int position) const {
    return view.cache + (head / (2 * kHeads)) * view.layer_bytes +
           head % (2 * kHeads) *
               cuda::cached_head_bytes(type_, kDim, view.capacity) +
           plane.at + 4LL * plane.floats * position;
  }
  void append(CudaKVStore& store, int offset, int length) {
    store.reserve(*stream_, offset, length);
    const auto view = store.view(offset, 0, length);
    for (int head = 0; head < kRows; ++head) {
      for (const auto& plane : planes(view)) {
        const auto its = numbers(head, offset, length, plane.floats);
        upload(*stream_, place(view, head, plane, view.offset), its.data(),
               4 * its.size());
      }
    }
  }
  void expect_positions(const CudaKVStore& store, int first, int end) {
    const auto view = store.view(first, 0, 1);
    for (int head = 0; head < kRows; ++head) {
      for (const auto& plane : planes(view)) {
        const auto expected = numbers(head, first, end - first, plane.floats);
        auto its = expected;
        download(*stream_, its.data(), place(view, head, plane, view.offset),
                 4 * its.size());
        ASSERT_EQ(its, expected) << "head " << head << " from " << first;
      }
    }
  }

  cuda::NumberType type_ = cuda::NumberType::f32;
  std::optional<Stream> stream_;
};

TEST_F(CudaKVStoreTest, GrowsAndKeepsAllWhereThereIsNoWindow) {
  CudaKVStore store(shape_of(0), 10);
  for (int at = 0; at < 6000; at += 1500) append(store, at, 1500);
  expect_positions(store, 0, 6000);
  EXPECT_GE(store.view(0, 0, 1).capacity, 6000);
}

TEST_F(CudaKVStoreTest, KeepsScalesWithTheirNumbers) {
  type_ = cuda::NumberType::q8;
  CudaKVStore all(shape_of(0, type_), 10);
  for (int at = 0; at < 3000; at += 1500) append(all, at, 1500);
  expect_positions(all, 0, 3000);
  CudaKVStore some(shape_of(kWindow, type_), 100);
  for (int at = 0; at < 20'000; at += 1000) append(some, at, 1000);
  expect_positions(some, 20'000 - kWindow, 20'000);
}

/// Of prompts in pieces, and token by token: some rows of each pass are looked
/// at by the next.
TEST_F(CudaKVStoreTest, KeepsWhatAWindowSeesAndNoMoreMemory) {
  const auto shape = shape_of(kWindow);
  const auto most = CudaKVStore::bytes_for(shape, 1 << 20);
  EXPECT_EQ(most, CudaKVStore::bytes_for(shape, 1 << 22));
  for (const int length : {2048, 1000, 37}) {
    CudaKVStore store(shape, 100);
    int at = 0;
    for (; at < 20'000; at += length) {
      append(store, at, length);
      const int seen = at + 1 - kWindow - CudaKVStore::kMostRewound;
      expect_positions(store, std::max(0, seen / 256 * 256), at + length);
    }
    for (const int end = at + 300; at < end; ++at) append(store, at, 1);
    expect_positions(store, at - kWindow, at);
    EXPECT_LE(store.view(at, 0, 1).layer_bytes * 2, most);
  }
}

TEST_F(CudaKVStoreTest, TakesAPassThatIsLongerThanItsRoom) {
  CudaKVStore store(shape_of(kWindow), 100);
  append(store, 0, 4000);
  append(store, 4000, 9000);
  expect_positions(store, 4001 - kWindow, 13'000);
}

TEST_F(CudaKVStoreTest, GoesBackAsFarAsTheCacheSays) {
  CudaKVCache cache(shape_of(kWindow), 100);
  const auto pass = [&](int length) {
    append(*cache.store(), cache.offset(), length);
    cache.set_last(std::make_shared<CudaPassState>(), length);
    cache.advance(length);
  };
  pass(2000);
  pass(2000);
  EXPECT_TRUE(cache.can_rewind(0));
  expect_positions(*cache.store(), 0, 4000);
  for (int i = 0; i < 5; ++i) pass(2000);
  EXPECT_FALSE(cache.can_rewind(0));
  EXPECT_THROW(cache.rewind(0), std::invalid_argument);
  const int back = 12'000 - CudaKVStore::kMostRewound;
  ASSERT_TRUE(cache.can_rewind(back));
  EXPECT_FALSE(cache.can_rewind(back - 1));
  cache.rewind(back);
  pass(1);
  expect_positions(*cache.store(), back + 1 - kWindow, back + 1);
}

TEST(KVShapeTest, HasAWindowOnlyIfAllLayersHave) {
  StackParams params{{4, 2, 8}, 1e-5F, {5, 9, 7}};
  EXPECT_EQ(kv_shape(params, cuda::NumberType::bf16).window, 9);
  params.windows[1] = 0;
  EXPECT_EQ(kv_shape(params, cuda::NumberType::bf16).window, 0);
}

}  // namespace
}  // namespace llamlx
