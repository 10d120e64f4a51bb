#include "kernels/cuda/cuda_kv_cache.h"

#include <algorithm>
#include <stdexcept>

#include <mlx/stream.h>

namespace llamlx {
namespace {

constexpr int kPositionsAtOnce = 256;

int round_up(int positions) {
  return (positions + kPositionsAtOnce - 1) / kPositionsAtOnce *
         kPositionsAtOnce;
}

}  // namespace

CudaKVStore::CudaKVStore(const Shape& shape, int capacity)
    : shape_(shape),
      capacity_(round_up(std::max(capacity, 1))),
      memory_(layer_bytes(capacity_) * shape.num_layers) {}

std::size_t CudaKVStore::head_bytes(int capacity) const {
  return static_cast<std::size_t>(capacity) * shape_.head_dim *
         cuda::number_bytes(shape_.type);
}

std::size_t CudaKVStore::layer_bytes(int capacity) const {
  return 2 * head_bytes(capacity) * shape_.num_key_value_heads;
}

void CudaKVStore::reserve(Stream& stream, int positions) {
  if (positions <= capacity_) return;
  const int capacity = round_up(std::max(positions, capacity_ * 3 / 2));
  DeviceBuffer larger(layer_bytes(capacity) * shape_.num_layers);
  const int heads = shape_.num_layers * 2 * shape_.num_key_value_heads;
  for (int i = 0; i < heads; ++i) {
    copy_on_device(stream, larger.as<std::byte>() + head_bytes(capacity) * i,
                   memory_.as<const std::byte>() + head_bytes(capacity_) * i,
                   head_bytes(capacity_));
  }
  stream.synchronize();
  memory_ = std::move(larger);
  capacity_ = capacity;
}

cuda::SegmentView CudaKVStore::view(int offset, int first_row,
                                    int length) const {
  return {memory_.as<unsigned char>(),
          layer_bytes(capacity_),
          capacity_,
          offset,
          first_row,
          length};
}

CudaKVCache::CudaKVCache(const CudaKVStore::Shape& shape, int capacity)
    : store_(std::make_shared<CudaKVStore>(shape, capacity)) {}

std::vector<mx::array> CudaKVCache::state() const {
  if (!last_ || !last_->done) return {};
  return {*last_->done};
}

void CudaKVCache::abandon() {
  if (!last_) return;
  *last_->is_abandoned = true;
  try {
    mx::synchronize(mx::default_stream(mx::Device::cpu));
  } catch (const std::exception&) {
    // Left in the stream, it would be thrown at whoever evaluates next.
  }
}

CudaKVCache& cuda_cache(KVCache& cache) {
  if (auto* ours = dynamic_cast<CudaKVCache*>(&cache)) return *ours;
  throw std::invalid_argument(
      "the cache is another backend's: ask the decoder");
}

}  // namespace llamlx
