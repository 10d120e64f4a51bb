#include "cuda/kernel.h"

#include <cstdint>
#include <thread>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.h"
#include "cuda/graph.h"
#include "cuda/memory.h"
#include "cuda/modules.h"
#include "cuda/probe/probe.h"
#include "cuda/testing.h"

namespace llamlx {
namespace {

using ::testing::Each;

using cuda::ProbeArgs;

TEST(CudaKernel, UnknownModulesAreTheCallersFault) {
  if (cuda_modules().empty()) GTEST_SKIP() << cuda_absence();
  EXPECT_THROW(cuda_kernel("probe/nothing", "probe"), std::invalid_argument);
}

TEST(CudaKernel, KnownOnesNeedAGpu) {
  if (cuda_device_info()) GTEST_SKIP() << "there is a GPU";
  EXPECT_THROW(cuda_kernel("probe/probe", "probe"), Error);
}

/// Numbers in the GPU's memory, that start as zeros.
class GpuKernelTest : public testing::GpuTest {
 protected:
  static constexpr std::uint32_t kCount = 10007;

  void SetUp() override {
    GpuTest::SetUp();
    if (IsSkipped()) return;
    stream_ = std::make_unique<Stream>();
    numbers_ = DeviceBuffer(kCount * sizeof(std::uint32_t));
    fill_zero(*stream_, numbers_.data(), numbers_.bytes());
  }

  static const Kernel& kernel() { return cuda_kernel("probe/probe", "probe"); }

  ProbeArgs args(std::uint32_t scale, std::uint32_t shift) const {
    return {numbers_.as<std::uint32_t>(), kCount, scale, shift};
  }

  void put(std::uint32_t scale, std::uint32_t shift, bool overlaps = true) {
    launch(*stream_, kernel(),
           {.grid_x = (kCount + 255) / 256, .overlaps = overlaps},
           args(scale, shift));
  }

  std::vector<std::uint32_t> numbers() {
    std::vector<std::uint32_t> got(kCount);
    download(*stream_, got.data(), numbers_.data(), numbers_.bytes());
    stream_->synchronize();
    return got;
  }

  std::unique_ptr<Stream> stream_;
  DeviceBuffer numbers_;
};

TEST_F(GpuKernelTest, Runs) {
  put(1, 41, false);
  EXPECT_THAT(numbers(), Each(41U));
  EXPECT_GT(kernel().registers(), 0);
  EXPECT_EQ(kernel().args_bytes(), sizeof(ProbeArgs));
  EXPECT_EQ(&kernel(), &cuda_kernel("probe/probe", "probe"));
}

TEST_F(GpuKernelTest, OverlappingKernelsKeepTheirOrder) {
  std::uint32_t expected = 0;
  for (std::uint32_t i = 0; i < 200; ++i) {
    put(3, i, i % 5 != 0);
    expected = expected * 3 + i;
  }
  EXPECT_THAT(numbers(), Each(expected));
}

TEST_F(GpuKernelTest, BlocksGetTheSharedMemoryTheyAskFor) {
  const auto most = static_cast<unsigned>(cuda_device().shared_bytes_per_block);
  EXPECT_EQ(blocks_per_multiprocessor(kernel(), 256, most), 1);
  EXPECT_GT(blocks_per_multiprocessor(kernel(), 256), 1);
  launch(*stream_, kernel(), {.grid_x = 40, .shared_bytes = most}, args(1, 1));
  EXPECT_THAT(numbers(), Each(1U));
  EXPECT_THROW(blocks_per_multiprocessor(kernel(), 256, most + 1), Error);
}

TEST_F(GpuKernelTest, WrongLaunchesAreTheCallersFault) {
  const auto some = args(1, 1);
  EXPECT_THROW(launch(*stream_, kernel(), {.grid_x = 0}, some),
               std::invalid_argument);
  EXPECT_THROW(launch(*stream_, kernel(), {.grid_x = 1, .block = 0}, some),
               std::invalid_argument);
  EXPECT_THROW(launch(*stream_, kernel(), {.grid_x = 1, .block = 1025}, some),
               std::invalid_argument);
  EXPECT_THROW(launch(*stream_, kernel(), {.grid_x = 1}, std::uint32_t{1}),
               std::invalid_argument);
  EXPECT_THROW(cuda_kernel("probe/probe", "nothing"), std::invalid_argument);
  EXPECT_THAT(numbers(), Each(0U));
}

TEST_F(GpuKernelTest, GraphsReplayWithOtherFirstArguments) {
  kernel();
  auto graph = Graph::capture(*stream_, [&] {
    put(0, 5);
    put(2, 1);
    put(2, 1);
  });
  EXPECT_THAT(numbers(), Each(0U)) << "recorded, and run too";
  graph.launch(*stream_);
  EXPECT_THAT(numbers(), Each(23U));
  for (std::uint32_t i = 0; i < 10; ++i) {
    graph.set_first_args(args(0, i));
    graph.launch(*stream_);
    if (i % 3 == 0) {
      EXPECT_THAT(numbers(), Each(4 * i + 3));
    }
  }
  EXPECT_THAT(numbers(), Each(39U));
  EXPECT_THROW(graph.set_first_args(1), std::invalid_argument);
}

TEST_F(GpuKernelTest, RecordingEndsWithWhatTheWorkThrows) {
  kernel();
  EXPECT_THROW(Graph::capture(*stream_,
                              [&] {
                                put(1, 1);
                                throw std::runtime_error("no");
                              }),
               std::runtime_error);
  put(1, 2);
  EXPECT_THAT(numbers(), Each(2U));
}

TEST_F(GpuKernelTest, GraphsThatStartOtherwiseHaveNoFirstArguments) {
  auto graph = Graph::capture(*stream_,
                              [&] { fill_zero(*stream_, numbers_.data(), 4); });
  EXPECT_THROW(graph.set_first_args(args(1, 1)), std::invalid_argument);
  graph.launch(*stream_);
  stream_->synchronize();
}

TEST_F(GpuKernelTest, EventsOrderStreamsAndTellTheTime) {
  Event before(EventTiming::on);
  Event after(EventTiming::on);
  EXPECT_TRUE(before.is_done());
  before.record(*stream_);
  for (int i = 0; i < 100; ++i) put(1, 1);
  after.record(*stream_);

  Stream other;
  other.wait(after);
  std::vector<std::uint32_t> got(kCount);
  download(other, got.data(), numbers_.data(), numbers_.bytes());
  other.synchronize();
  EXPECT_THAT(got, Each(100U));
  EXPECT_TRUE(after.is_done());
  EXPECT_GT(elapsed_ms(before, after), 0);
}

TEST_F(GpuKernelTest, ThreadsMayLaunchTogether) {
  numbers();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      Stream stream;
      const DeviceBuffer own(4);
      fill_zero(stream, own.data(), own.bytes());
      const ProbeArgs add{own.as<std::uint32_t>(), 1, 1, 1};
      for (int j = 0; j < 100; ++j) launch(stream, kernel(), {1}, add);
      std::uint32_t got = 0;
      download(stream, &got, own.data(), own.bytes());
      stream.synchronize();
      EXPECT_EQ(got, 100U);
    });
  }
  for (auto& thread : threads) thread.join();
}

}  // namespace
}  // namespace llamlx
