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

namespace llamlx {

/// What a cache of the CUDA backend holds, in the GPU's memory:
/// [layer][keys, values][Hkv][capacity][Dh].
class CudaKVStore {
 public:
  struct Shape {
    cuda::NumberType type;
    int num_layers;
    int num_key_value_heads;
    int head_dim;
  };

  /// Errors: Error (out_of_memory).
  CudaKVStore(const Shape& shape, int capacity);

  /// Bytes that a store of so many positions takes.
  static std::size_t bytes_for(const Shape& shape, long long capacity);

  /// Makes room for `positions`, by half as much again when it must grow and
  /// there is as much memory, as work of `stream`. What it held it holds still
  /// where that fails. Errors: Error (out_of_memory).
  void reserve(Stream& stream, int positions);

  cuda::SegmentView view(int offset, int first_row, int length) const;

  /// Throws what the last reserve() did. Threads: any.
  void check() const;

 private:
  void grow(Stream& stream, int positions);
  std::size_t head_bytes(int capacity) const;
  std::size_t layer_bytes(int capacity) const;

  Shape shape_;
  int capacity_;
  DeviceBuffer memory_;
  mutable std::mutex mutex_;
  std::exception_ptr failure_;  // of the last reserve()
};

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

  std::vector<mx::array> state() const override;
  void abandon() override;
  void check() const override { store_->check(); }

  void set_last(std::shared_ptr<CudaPassState> pass) {
    last_ = std::move(pass);
  }
  const std::shared_ptr<CudaKVStore>& store() const { return store_; }

 protected:
  /// Rows that come next are written over those dropped.
  void drop_after(int) override {}

 private:
  std::shared_ptr<CudaKVStore> store_;
  std::shared_ptr<CudaPassState> last_;
};

/// `cache` as the CUDA backend takes it. Errors: std::invalid_argument for a
/// cache that another backend made.
CudaKVCache& cuda_cache(KVCache& cache);

}  // namespace llamlx
