#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <vector>

#include "cpu/attention/attention.h"
#include "kernels/kv_cache.h"

namespace llamlx {

/// What a cache of the CPU backend holds: of every layer and key/value head
/// the keys and values, in the layout that its kernels read.
class CpuKVStore {
 public:
  struct Shape {
    ValueType type;
    int num_layers;
    int num_key_value_heads;
    int head_dim;
  };

  /// Room for `capacity` positions. Memory is taken from the system as
  /// positions are written. Errors: std::bad_alloc.
  CpuKVStore(const Shape& shape, int capacity);

  /// Makes room for `positions`, by half as much again when it must grow.
  void reserve(int positions);

  KVHead head(int layer, int index) const;

 private:
  struct Free {
    void operator()(void* memory) const { std::free(memory); }
  };
  using Memory = std::unique_ptr<void, Free>;

  std::size_t keys_bytes(int capacity) const;
  std::size_t values_bytes(int capacity) const;
  /// All heads of one layer, each its keys and then its values.
  Memory allocate(int capacity) const;
  std::byte* place(const Memory& layer, int capacity, int index) const;

  Shape shape_;
  int capacity_;
  std::vector<Memory> layers_;
};

/// A cache of the CPU backend. What is appended is written when the forward
/// pass that appends it is evaluated; one pass waits for the one before it,
/// whose output is this cache's state.
class CpuKVCache final : public KVCache {
 public:
  CpuKVCache(const CpuKVStore::Shape& shape, int capacity);

  std::vector<mx::array> state() const override;

  void abandon() override;

  /// Says which array is evaluated once the rows appended so far are in, and
  /// what tells its pass that nobody wants it.
  void set_last(const mx::array& output,
                std::shared_ptr<std::atomic<bool>> is_abandoned) {
    last_ = output;
    is_abandoned_ = std::move(is_abandoned);
  }

  const std::shared_ptr<CpuKVStore>& store() const { return store_; }

 protected:
  /// Rows that come next are written over those dropped.
  void drop_after(int) override {}

 private:
  std::shared_ptr<CpuKVStore> store_;
  std::optional<mx::array> last_;
  std::shared_ptr<std::atomic<bool>> is_abandoned_;
};

/// `cache` as the CPU backend takes it. Errors: std::invalid_argument for a
/// cache that another backend made.
CpuKVCache& cpu_cache(KVCache& cache);

}  // namespace llamlx
