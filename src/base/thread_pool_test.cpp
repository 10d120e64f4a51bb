#include "base/thread_pool.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <numeric>
#include <stdexcept>

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

TEST_P(ThreadPoolTest, PartsAreAllOfARange) {
  ThreadPool pool(GetParam());
  for (const int count : {0, 1, 7, 8, 100}) {
    std::vector<int> done(static_cast<std::size_t>(count));
    pool.run_parts(count, 8, [&](std::int64_t begin, std::int64_t end) {
      EXPECT_EQ(begin % 8, 0);
      EXPECT_EQ(end, std::min<std::int64_t>(begin + 8, count));
      for (auto i = begin; i < end; ++i) ++done[static_cast<std::size_t>(i)];
    });
    EXPECT_EQ(done, std::vector<int>(done.size(), 1));
  }
}

TEST_P(ThreadPoolTest, ThrowsWhatAPartThrows) {
  ThreadPool pool(GetParam());
  std::atomic<int> parts = 0;
  const auto fail_at_7 = [&](std::int64_t begin, std::int64_t) {
    ++parts;
    if (begin == 7) throw std::runtime_error("the seventh");
  };
  EXPECT_THROW(pool.run_parts(1000, 1, fail_at_7), std::runtime_error);
  if (GetParam() == 1) {
    EXPECT_EQ(parts, 8);
  }
  pool.run_parts(3, 1, [&](std::int64_t, std::int64_t) { parts = 0; });
  EXPECT_EQ(parts, 0);
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
