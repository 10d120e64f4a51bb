#include "base/thread_pool.h"

#include <algorithm>
#include <chrono>
#include <map>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "base/cpu_count.h"

namespace llamlx {
namespace {

using Clock = std::chrono::steady_clock;

// Between two tokens there is sampling and printing, a fraction of this.
constexpr auto kAwake = std::chrono::microseconds(500);
// Within a token workers arrive within microseconds of each other, unless the
// system has given their processor to someone else: then spinning on would keep
// it from him who is waited for.
constexpr int kSpins = 4096;

void pause_briefly() {
#if defined(__x86_64__)
  _mm_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb");
#endif
}

/// Spins until `done()`, and lets others run from time to time.
template <typename Done>
void spin_until(const Done& done) {
  for (int spins = 0; !done(); ++spins) {
    if (spins < kSpins) {
      pause_briefly();
    } else {
      std::this_thread::yield();
    }
  }
}

/// Spins until `done()` for a moment; says whether it was.
template <typename Done>
bool spin_for_a_moment(const Done& done) {
  const auto end = Clock::now() + kAwake;
  while (Clock::now() < end) {
    for (int spins = 0; spins < 64; ++spins) {
      if (done()) return true;
      pause_briefly();
    }
  }
  return done();
}

}  // namespace

int Worker::count() const { return pool_->size_; }

void Worker::barrier() { pool_->meet(phase_); }

int Worker::next_task() {
  return pool_->next_task_.fetch_add(1, std::memory_order_relaxed);
}

ThreadPool::ThreadPool(int threads) : size_(std::max(threads, 1)) {
  threads_.reserve(static_cast<std::size_t>(size_ - 1));
  for (int index = 1; index < size_; ++index) {
    threads_.emplace_back([this, index] { serve(index); });
  }
}

ThreadPool::~ThreadPool() {
  stopping_.store(true);
  started_.fetch_add(1);
  started_.notify_all();
  for (auto& thread : threads_) thread.join();
}

void ThreadPool::meet(unsigned& phase) {
  const unsigned before = phase++;
  if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == size_) {
    arrived_.store(0, std::memory_order_relaxed);
    next_task_.store(0, std::memory_order_relaxed);
    phase_.store(before + 1, std::memory_order_release);
    return;
  }
  spin_until([&] { return phase_.load(std::memory_order_acquire) != before; });
}

void ThreadPool::run_raw(RawWork work, void* context) {
  const std::scoped_lock lock(running_);
  work_ = work;
  context_ = context;
  Worker worker(*this, 0);
  worker.phase_ = phase_.load(std::memory_order_relaxed);
  next_task_.store(0, std::memory_order_relaxed);
  started_.fetch_add(1, std::memory_order_release);
  started_.notify_all();
  work(context, worker);
  worker.barrier();
}

void ThreadPool::serve(int index) {
  unsigned seen = 0;
  while (true) {
    const auto has_work = [&] {
      return started_.load(std::memory_order_acquire) != seen;
    };
    if (!spin_for_a_moment(has_work)) {
      started_.wait(seen, std::memory_order_acquire);
    }
    ++seen;
    if (stopping_.load()) return;
    Worker worker(*this, index);
    worker.phase_ = phase_.load(std::memory_order_relaxed);
    work_(context_, worker);
    worker.barrier();
  }
}

std::shared_ptr<ThreadPool> thread_pool(int threads) {
  static std::mutex mutex;
  static std::map<int, std::weak_ptr<ThreadPool>> pools;
  const int size = threads > 0 ? threads : cpu_count().usable;
  const std::scoped_lock lock(mutex);
  auto& known = pools[size];
  auto pool = known.lock();
  if (!pool) known = pool = std::make_shared<ThreadPool>(size);
  return pool;
}

}  // namespace llamlx
