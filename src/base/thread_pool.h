#pragma once

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <type_traits>
#include <vector>

namespace llamlx {

class ThreadPool;

/// One of the threads that run the same work together.
class Worker {
 public:
  int index() const { return index_; }
  int count() const;

  /// Waits until every worker is here. What they wrote before is seen after.
  void barrier();

  /// The next task, counted from 0 since the last barrier; each is dealt out
  /// once. Workers ask until the number is past their last task, then meet at
  /// a barrier:
  ///     for (int i; (i = worker.next_task()) < count;) work_on(i);
  ///     worker.barrier();
  int next_task();

 private:
  friend class ThreadPool;
  Worker(ThreadPool& pool, int index) : pool_(&pool), index_(index) {}

  ThreadPool* pool_;
  int index_;
  unsigned phase_ = 0;  // barriers passed
};

/// Threads that run one piece of work together, meet at barriers within it, and
/// wait for the next: awake for a moment (a token's work follows at once),
/// asleep after that.
///
/// Example:
///     auto pool = thread_pool(0);
///     pool->run([&](Worker& worker) {
///       for (int i; (i = worker.next_task()) < 100;) square(i);
///       worker.barrier();
///     });
///
/// Threads: run() from any; one piece of work at a time, others wait.
class ThreadPool {
 public:
  /// `threads` counts the one that calls run(). At least 1.
  explicit ThreadPool(int threads);
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;
  ~ThreadPool();

  int size() const { return size_; }

  /// Calls `work(worker)` on every thread at once, the caller's among them, and
  /// returns when all are done. `work` must not throw.
  template <typename Work>
  void run(Work&& work) {
    run_raw(
        [](void* context, Worker& worker) {
          (*static_cast<std::remove_reference_t<Work>*>(context))(worker);
        },
        &work);
  }

  /// Calls `work(begin, end)` for parts of [0, count), of `step` each but the
  /// last, which threads take as they come to them. Throws the first of what it
  /// throws; parts that nobody has begun by then are left out.
  template <typename Work>
  void run_parts(std::int64_t count, std::int64_t step, const Work& work) {
    std::exception_ptr failure;
    std::atomic<bool> has_failed = false;
    run([&](Worker& worker) {
      while (!has_failed.load(std::memory_order_relaxed)) {
        const auto begin = worker.next_task() * step;
        if (begin >= count) return;
        try {
          work(begin, std::min(begin + step, count));
        } catch (...) {
          if (!has_failed.exchange(true)) failure = std::current_exception();
        }
      }
    });
    if (failure) std::rethrow_exception(failure);
  }

 private:
  friend class Worker;
  using RawWork = void (*)(void* context, Worker& worker);

  void run_raw(RawWork work, void* context);
  void serve(int index);
  void meet(unsigned& phase);

  const int size_;
  std::mutex running_;
  RawWork work_ = nullptr;
  void* context_ = nullptr;
  // On lines of their own: workers that spin on one must not slow the others.
  alignas(64) std::atomic<unsigned> started_ = 0;  // pieces of work so far
  alignas(64) std::atomic<int> arrived_ = 0;       // at the barrier
  alignas(64) std::atomic<unsigned> phase_ = 0;    // barriers passed
  alignas(64) std::atomic<int> next_task_ = 0;
  std::atomic<bool> stopping_ = false;
  std::vector<std::thread> threads_;
};

/// The pool of `threads` threads, shared by all who ask for as many; 0: as many
/// as this process may keep busy (base/cpu_count.h). Threads: any.
std::shared_ptr<ThreadPool> thread_pool(int threads);

}  // namespace llamlx
