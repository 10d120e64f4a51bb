#include "kernels/cuda/cuda_kv_cache.h"

#include <algorithm>
#include <stdexcept>

#include <mlx/stream.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "cuda/device.h"

namespace llamlx {
namespace {

constexpr int kPositionsAtOnce = 256;

template <typename Int>
Int round_up(Int positions) {
  return (positions + kPositionsAtOnce - 1) / kPositionsAtOnce *
         kPositionsAtOnce;
}

DeviceBuffer memory_for(const CudaKVStore::Shape& shape, int capacity) {
  const auto bytes = CudaKVStore::bytes_for(shape, capacity);
  try {
    return DeviceBuffer(bytes);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    const auto device = cuda_device_info();
    fail(ErrorCode::out_of_memory, device->name,
         concat("keys and values of ", capacity, " tokens take ",
                human_size(bytes), ", and ", human_size(device->free_bytes),
                " of its memory are free"),
         "ask for fewer tokens, quantise the model (llamlx convert -q), or use "
         "the CPU (--device cpu)");
  }
}

}  // namespace

CudaKVStore::CudaKVStore(const Shape& shape, int capacity)
    : shape_(shape),
      capacity_(round_up(std::max(capacity, 1))),
      memory_(memory_for(shape, capacity_)) {}

std::size_t CudaKVStore::bytes_for(const Shape& shape, long long capacity) {
  return std::size_t{2} * static_cast<std::size_t>(round_up(capacity)) *
         static_cast<std::size_t>(shape.num_layers) *
         static_cast<std::size_t>(shape.num_key_value_heads) *
         static_cast<std::size_t>(shape.head_dim) *
         static_cast<std::size_t>(cuda::number_bytes(shape.type));
}

std::size_t CudaKVStore::head_bytes(int capacity) const {
  return static_cast<std::size_t>(capacity) * shape_.head_dim *
         cuda::number_bytes(shape_.type);
}

std::size_t CudaKVStore::layer_bytes(int capacity) const {
  return 2 * head_bytes(capacity) * shape_.num_key_value_heads;
}

void CudaKVStore::reserve(Stream& stream, int positions) {
  std::exception_ptr failure;
  try {
    grow(stream, positions);
  } catch (...) {
    failure = std::current_exception();
  }
  const std::scoped_lock lock(mutex_);
  failure_ = failure;
  if (failure) std::rethrow_exception(failure);
}

void CudaKVStore::check() const {
  const std::scoped_lock lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

void CudaKVStore::grow(Stream& stream, int positions) {
  if (positions <= capacity_) return;
  int capacity = round_up(std::max(positions, capacity_ * 3 / 2));
  DeviceBuffer larger;
  try {
    larger = memory_for(shape_, capacity);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    // The least that will do.
    capacity = round_up(positions);
    larger = memory_for(shape_, capacity);
  }
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
