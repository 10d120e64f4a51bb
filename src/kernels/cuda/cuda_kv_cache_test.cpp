#include "kernels/cuda/cuda_kv_cache.h"

#include <gtest/gtest.h>

#include "cuda/testing.h"

namespace llamlx {
namespace {

constexpr int kWindow = 700;
constexpr int kHeads = 3;
constexpr int kDim = 8;
// Of each of two layers' keys and values.
constexpr int kRows = 2 * 2 * kHeads;

CudaKVStore::Shape shape_of(int window) {
  return {cuda::NumberType::f32, 2, kHeads, kDim, window};
}

/// A store whose numbers say of which head and position they are.
class CudaKVStoreTest : public testing::GpuTest {
 protected:
  static std::vector<float> numbers(int head, int first, int count) {
    std::vector<float> result;
    for (int i = 0; i < count * kDim; ++i) {
      result.push_back(static_cast<float>(head * 100'000 + first + i / kDim));
    }
    return result;
  }
  /// Where kernels find a position (segment.h).
  static unsigned char* place(const cuda::SegmentView& view, int head,
                              int position) {
    return view.cache + (head / (2 * kHeads)) * view.layer_bytes +
           ((head % (2 * kHeads)) * static_cast<long long>(view.capacity) +
            position) *
               kDim * 4;
  }
  void append(CudaKVStore& store, int offset, int length) {
    store.reserve(stream_, offset, length);
    const auto view = store.view(offset, 0, length);
    for (int head = 0; head < kRows; ++head) {
      const auto its = numbers(head, offset, length);
      upload(stream_, place(view, head, offset), its.data(), 4 * its.size());
    }
  }
  void expect_positions(const CudaKVStore& store, int first, int end) {
    const auto view = store.view(end, 0, 1);
    for (int head = 0; head < kRows; ++head) {
      const auto expected = numbers(head, first, end - first);
      auto its = expected;
      download(stream_, its.data(), place(view, head, first), 4 * its.size());
      ASSERT_EQ(its, expected) << "head " << head << " from " << first;
    }
  }

  Stream stream_;
};

TEST_F(CudaKVStoreTest, GrowsAndKeepsAllWhereThereIsNoWindow) {
  CudaKVStore store(shape_of(0), 10);
  for (int at = 0; at < 6000; at += 1500) append(store, at, 1500);
  expect_positions(store, 0, 6000);
  EXPECT_GE(store.view(0, 0, 1).capacity, 6000);
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
  EXPECT_TRUE(cache.can_rewind(0));
  for (int i = 0; i < 6; ++i) pass(2000);
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
