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

/// Positions that come before a store that drops some does so again: two
/// passes of a prompt, so that it moves by one of them at least.
constexpr int kBetweenDrops = 4096;

long long round_up(long long positions) {
  return (positions + kPositionsAtOnce - 1) / kPositionsAtOnce *
         kPositionsAtOnce;
}

/// Positions that a store needs room for in which so many have been.
long long capacity_for(const CudaKVStore::Shape& shape, long long positions) {
  const auto all = round_up(std::max(positions, 1LL));
  if (shape.window == 0) return all;
  const auto kept = round_up(CudaKVStore::kMostRewound + kPositionsAtOnce +
                             static_cast<long long>(shape.window));
  return std::min(all, kept + kBetweenDrops);
}

std::size_t bytes_of(const CudaKVStore::Shape& shape, long long capacity) {
  return std::size_t{2} * static_cast<std::size_t>(capacity) *
         static_cast<std::size_t>(shape.num_layers) *
         static_cast<std::size_t>(shape.num_key_value_heads) *
         static_cast<std::size_t>(shape.head_dim) *
         static_cast<std::size_t>(cuda::number_bytes(shape.type));
}

DeviceBuffer memory_for(const CudaKVStore::Shape& shape, int capacity) {
  const auto bytes = bytes_of(shape, capacity);
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
      capacity_(static_cast<int>(capacity_for(shape, capacity))),
      memory_(memory_for(shape, capacity_)) {}

std::size_t CudaKVStore::bytes_for(const Shape& shape, long long positions) {
  return bytes_of(shape, capacity_for(shape, positions));
}

bool CudaKVStore::may_drop(const Shape& shape, long long positions) {
  return capacity_for(shape, positions) < positions;
}

std::size_t CudaKVStore::position_bytes() const {
  return static_cast<std::size_t>(shape_.head_dim) *
         cuda::number_bytes(shape_.type);
}

std::size_t CudaKVStore::layer_bytes() const {
  return 2 * position_bytes() * capacity_ * shape_.num_key_value_heads;
}

void CudaKVStore::reserve(Stream& stream, int offset, int length) {
  std::exception_ptr failure;
  try {
    make_room(stream, offset, length);
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

int CudaKVStore::first_needed(int offset) const {
  if (shape_.window == 0) return 0;
  const int before = offset + 1 - kMostRewound;
  if (before <= shape_.window) return first_;
  // Kernels look at whole tiles of positions, which begin before the window.
  const int tiles = (before - shape_.window) / kPositionsAtOnce;
  return std::max(first_, tiles * kPositionsAtOnce);
}

void CudaKVStore::make_room(Stream& stream, int offset, int length) {
  if (offset + length - first_ <= capacity_) return;
  const int first = first_needed(offset);
  const auto needed = std::max<long long>(capacity_for(shape_, offset + length),
                                          offset + length - first);
  if (needed <= capacity_) {
    move_to_front(stream, first, offset);
  } else {
    grow(stream, first, offset, length);
  }
}

void CudaKVStore::grow(Stream& stream, int first, int offset, int length) {
  const auto least = round_up(offset + length - first);
  const auto more = capacity_for(shape_, capacity_ * 3LL / 2);
  auto capacity = static_cast<int>(std::max(least, more));
  DeviceBuffer larger;
  try {
    larger = memory_for(shape_, capacity);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::out_of_memory) throw;
    capacity = static_cast<int>(least);
    larger = memory_for(shape_, capacity);
  }
  copy_positions(stream, larger.as<std::byte>(), capacity, first,
                 offset - first);
  stream.synchronize();
  memory_ = std::move(larger);
  capacity_ = capacity;
  first_ = first;
}

void CudaKVStore::move_to_front(Stream& stream, int first, int offset) {
  // As many at a time as there are before them: copies do not overlap.
  const int by = first - first_;
  auto* to = memory_.as<std::byte>();
  for (int at = first; at < offset; at += by) {
    copy_positions(stream, to, capacity_, at, std::min(by, offset - at));
    to += position_bytes() * by;
  }
  first_ = first;
}

void CudaKVStore::copy_positions(Stream& stream, std::byte* to, int to_capacity,
                                 int first, int count) const {
  const auto bytes = position_bytes();
  const auto* from = memory_.as<const std::byte>() + bytes * (first - first_);
  const int heads = shape_.num_layers * 2 * shape_.num_key_value_heads;
  for (int i = 0; i < heads; ++i) {
    copy_on_device(stream, to + bytes * to_capacity * i,
                   from + bytes * capacity_ * i, bytes * count);
  }
}

cuda::SegmentView CudaKVStore::view(int offset, int first_row,
                                    int length) const {
  return {memory_.as<unsigned char>() - position_bytes() * first_,
          layer_bytes(),
          capacity_,
          offset,
          first_row,
          length};
}

CudaKVStore::Shape kv_shape(const StackParams& params, cuda::NumberType type) {
  const auto& windows = params.windows;
  const bool is_bounded = std::ranges::find(windows, 0) == windows.end();
  return {type, static_cast<int>(windows.size()),
          params.heads.num_key_value_heads, params.heads.head_dim,
          is_bounded ? std::ranges::max(windows) : 0};
}

CudaKVCache::CudaKVCache(const CudaKVStore::Shape& shape, int capacity)
    : shape_(shape), store_(std::make_shared<CudaKVStore>(shape, capacity)) {}

bool CudaKVCache::can_rewind(int offset) const { return offset >= earliest_; }

void CudaKVCache::set_last(std::shared_ptr<CudaPassState> pass, int length) {
  last_ = std::move(pass);
  if (!CudaKVStore::may_drop(shape_, offset() + length)) return;
  earliest_ = std::max(earliest_, offset() - CudaKVStore::kMostRewound);
}

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
