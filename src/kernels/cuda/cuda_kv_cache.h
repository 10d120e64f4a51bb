#pragma once

#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>

#include "cuda/memory.h"
#include "cuda/segment.h"
#include "cuda/values.h"
#include "kernels/kv_cache.h"
#include "kernels/stack.h"

namespace llamlx {

/// What a cache of the CUDA backend holds, in the GPU's memory:
/// [layer][keys, values][Hkv] heads (cuda/cached_rows.h).
///
/// Where all layers have windows it drops positions that none sees any more,
/// and moves those that it keeps to the front, when it is full: kernels count
/// positions from the first of them.
class CudaKVStore {
 public:
  struct Shape {
    cuda::NumberType type;
    int num_layers;
    int num_key_value_heads;
    int head_dim;
    int window = 0;  ///< the widest of all layers', or 0: all is kept
  };

  /// Positions before a pass, beyond the window, that it does not drop.
  static constexpr int kMostRewound = 256;

  /// Errors: Error (out_of_memory).
  CudaKVStore(const Shape& shape, int capacity);

  /// Bytes that a store takes in which so many positions have been.
  static std::size_t bytes_for(const Shape& shape, long long positions);

  /// Whether it may drop some before it has had so many.
  static bool may_drop(const Shape& shape, long long positions);

  /// Makes room for `length` positions from `offset` on, by half as much again
  /// when it must grow and there is as much memory, as work of `stream`. What
  /// it held it holds still where that fails. Errors: Error (out_of_memory).
  void reserve(Stream& stream, int offset, int length);

  cuda::SegmentView view(int offset, int first_row, int length) const;

  /// The position that it holds first.
  int first() const { return first_; }

  /// Keeps why the pass failed whose rows it was to take. Threads: any.
  void set_failure(std::exception_ptr why);

  /// Throws why the last pass failed, if it did. Threads: any.
  void check() const;

 private:
  void make_room(Stream& stream, int offset, int length);
  void grow(Stream& stream, int first, int offset, int length);
  void move_to_front(Stream& stream, int first, int offset);
  /// Puts `count` positions from `first` on, of every head, into a store's
  /// memory, where they follow `before` others.
  void copy_positions(Stream& stream, std::byte* to, int to_capacity,
                      int before, int first, int count) const;
  int first_needed(int offset) const;

  Shape shape_;
  int capacity_;
  int first_ = 0;
  DeviceBuffer memory_;
  mutable std::mutex mutex_;
  std::exception_ptr failure_;  // of the last pass
};

/// Of the cache of a sequence.
CudaKVStore::Shape kv_shape(const StackParams& params, cuda::NumberType type);

/// A pass as the caches know it that it appends to.
struct CudaPassState {
  /// The array that is evaluated once the pass's rows are in.
  std::optional<mx::array> done;
  /// Nobody wants what it gives.
  std::shared_ptr<std::atomic<bool>> is_abandoned =
      std::make_shared<std::atomic<bool>>(false);
};

/// A cache of the CUDA backend. What is appended is written when the pass that
/// appends it is evaluated; one pass waits for the one before it.
class CudaKVCache final : public KVCache {
 public:
  CudaKVCache(const CudaKVStore::Shape& shape, int capacity);

  /// Not to before what the store keeps, once it may have dropped some.
  bool can_rewind(int offset) const override;

  std::vector<mx::array> state() const override;
  void abandon() override;
  void check() const override { store_->check(); }

  /// Says which pass appends `length` rows.
  void set_last(std::shared_ptr<CudaPassState> pass, int length);

  const std::shared_ptr<CudaKVStore>& store() const { return store_; }

 protected:
  /// Rows that come next are written over those dropped.
  void drop_after(int) override {}

 private:
  CudaKVStore::Shape shape_;
  std::shared_ptr<CudaKVStore> store_;
  std::shared_ptr<CudaPassState> last_;
  int earliest_ = 0;  // offset to go back to
};

/// `cache` as the CUDA backend takes it. Errors: std::invalid_argument for a
/// cache that another backend made.
CudaKVCache& cuda_cache(KVCache& cache);

}  // namespace llamlx
