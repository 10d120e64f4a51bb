#include "kernels/cpu/cpu_kv_cache.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <new>
#include <stdexcept>

#include <mlx/stream.h>

#include "cpu/aligned_buffer.h"

namespace llamlx {
namespace {

constexpr int kPositionsAtOnce = 256;

int round_up(int positions) {
  return (positions + kPositionsAtOnce - 1) / kPositionsAtOnce *
         kPositionsAtOnce;
}

}  // namespace

CpuKVStore::CpuKVStore(const Shape& shape, int capacity)
    : shape_(shape), capacity_(round_up(std::max(capacity, 1))) {
  for (int layer = 0; layer < shape.num_layers; ++layer) {
    layers_.push_back(allocate(capacity_));
  }
}

std::size_t CpuKVStore::keys_bytes(int capacity) const {
  return kv_keys_bytes(shape_.type, shape_.head_dim, capacity);
}

std::size_t CpuKVStore::values_bytes(int capacity) const {
  return kv_values_bytes(shape_.type, shape_.head_dim, capacity);
}

CpuKVStore::Memory CpuKVStore::allocate(int capacity) const {
  const auto bytes = static_cast<std::size_t>(shape_.num_key_value_heads) *
                     (keys_bytes(capacity) + values_bytes(capacity));
  // Zeros that the system gives page by page, when they are first touched.
  Memory memory(std::calloc(bytes + AlignedBuffer::kAlignment, 1));
  if (!memory) throw std::bad_alloc();
  return memory;
}

std::byte* CpuKVStore::place(const Memory& layer, int capacity,
                             int index) const {
  constexpr auto kMask = std::uintptr_t{AlignedBuffer::kAlignment - 1};
  auto* start = static_cast<std::byte*>(layer.get());
  start += (~reinterpret_cast<std::uintptr_t>(start) + 1) & kMask;
  return start + static_cast<std::size_t>(index) *
                     (keys_bytes(capacity) + values_bytes(capacity));
}

void CpuKVStore::reserve(int positions) {
  if (positions <= capacity_) return;
  const int capacity = round_up(std::max(positions, capacity_ * 3 / 2));
  for (auto& layer : layers_) {
    auto larger = allocate(capacity);
    for (int i = 0; i < shape_.num_key_value_heads; ++i) {
      const auto* from = place(layer, capacity_, i);
      auto* to = place(larger, capacity, i);
      std::memcpy(to, from, keys_bytes(capacity_));
      std::memcpy(to + keys_bytes(capacity), from + keys_bytes(capacity_),
                  values_bytes(capacity_));
    }
    layer = std::move(larger);
  }
  capacity_ = capacity;
}

KVHead CpuKVStore::head(int layer, int index) const {
  auto* keys =
      place(layers_[static_cast<std::size_t>(layer)], capacity_, index);
  return {shape_.type, shape_.head_dim, capacity_, keys,
          keys + keys_bytes(capacity_)};
}

CpuKVCache::CpuKVCache(const CpuKVStore::Shape& shape, int capacity)
    : store_(std::make_shared<CpuKVStore>(shape, capacity)) {}

std::vector<mx::array> CpuKVCache::state() const {
  if (!last_) return {};
  return {*last_};
}

void CpuKVCache::abandon() {
  if (!is_abandoned_) return;
  is_abandoned_->store(true);
  try {
    mx::synchronize(mx::default_stream(mx::Device::cpu));
  } catch (const std::exception&) {
    // Left in the stream, it would be thrown at whoever evaluates next.
  }
}

CpuKVCache& cpu_cache(KVCache& cache) {
  if (auto* ours = dynamic_cast<CpuKVCache*>(&cache)) return *ours;
  throw std::invalid_argument(
      "the cache is another backend's: ask the decoder");
}

}  // namespace llamlx
