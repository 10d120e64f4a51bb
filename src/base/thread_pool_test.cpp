#include "base/thread_pool.h"

#include <array>
#include <chrono>
#include <numeric>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

class ThreadPoolTest : public testing::TestWithParam<int> {};

TEST_P(ThreadPoolTest, EveryWorkerRuns) {
  ThreadPool pool(GetParam());
  std::vector<int> seen(static_cast<std::size_t>(GetParam()));
  pool.run([&](Worker& worker) {
    EXPECT_EQ(worker.count(), GetParam());
    ++seen[static_cast<std::size_t>(worker.index())];
  });
  EXPECT_EQ(seen, std::vector<int>(seen.size(), 1));
}

TEST_P(ThreadPoolTest, EveryTaskIsDealtOutOnce) {
  ThreadPool pool(GetParam());
  std::array<std::atomic<int>, 100> done{};
  constexpr int kPhases = 50;
  pool.run([&](Worker& worker) {
    for (int phase = 0; phase < kPhases; ++phase) {
      for (int i; (i = worker.next_task()) < 100;) ++done[std::size_t(i)];
      worker.barrier();
    }
  });
  for (const auto& count : done) EXPECT_EQ(count, kPhases);
}

TEST_P(ThreadPoolTest, WhatWasWrittenBeforeABarrierIsSeenAfterIt) {
  ThreadPool pool(GetParam());
  const auto threads = static_cast<std::size_t>(GetParam());
  std::vector<int> values(threads);
  std::vector<int> sums(threads);
  pool.run([&](Worker& worker) {
    const auto index = static_cast<std::size_t>(worker.index());
    for (int round = 0; round < 200; ++round) {
      values[index] = round;
      worker.barrier();
      const int sum = std::accumulate(values.begin(), values.end(), 0);
      if (sum == round * worker.count()) ++sums[index];
      worker.barrier();
    }
  });
  EXPECT_EQ(sums, std::vector<int>(threads, 200));
}

TEST_P(ThreadPoolTest, WakesUpAgainAfterSleeping) {
  ThreadPool pool(GetParam());
  std::atomic<int> runs = 0;
  for (int i = 0; i < 3; ++i) {
    pool.run([&](Worker&) { ++runs; });
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  EXPECT_EQ(runs, 3 * GetParam());
}

INSTANTIATE_TEST_SUITE_P(Sizes, ThreadPoolTest, testing::Values(1, 2, 3, 7));

TEST(ThreadPoolTest, TakesOnePieceOfWorkAtATime) {
  ThreadPool pool(2);
  int running = 0;
  std::vector<std::thread> callers;
  for (int i = 0; i < 4; ++i) {
    callers.emplace_back([&] {
      for (int run = 0; run < 50; ++run) {
        pool.run([&](Worker& worker) {
          if (worker.index() == 0) {
            EXPECT_EQ(++running, 1);
          }
          worker.barrier();
          if (worker.index() == 0) --running;
        });
      }
    });
  }
  for (auto& caller : callers) caller.join();
}

TEST(ThreadPoolTest, PoolsOfOneSizeAreShared) {
  const auto pool = thread_pool(2);
  EXPECT_EQ(pool, thread_pool(2));
  EXPECT_NE(pool, thread_pool(3));
  EXPECT_GE(thread_pool(0)->size(), 1);
}

}  // namespace
}  // namespace llamlx
