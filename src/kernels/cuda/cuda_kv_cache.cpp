#include "kernels/cuda/cuda_kv_cache.h"

#include <algorithm>
#include <stdexcept>

#include <mlx/stream.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/human_size.h"
#include "cuda/cached_rows.h"
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

int heads_of(const CudaKVStore::Shape& shape) {
  return shape.num_layers * 2 * shape.num_key_value_heads;
}

std::size_t head_bytes(const CudaKVStore::Shape& shape, long long capacity) {
  return static_cast<std::size_t>(
      cuda::cached_head_bytes(shape.type, shape.head_dim, capacity));
}

std::size_t bytes_of(const CudaKVStore::Shape& shape, long long capacity) {
  return static_cast<std::size_t>(heads_of(shape)) *
         head_bytes(shape, capacity);
}

/// Whether rows are longer than what is written of them: they are read whole.
bool has_gaps(const CudaKVStore::Shape& shape) {
  return cuda::cached_row_bytes(shape.type, shape.head_dim) !=
         shape.head_dim * cuda::cached_number_bytes(shape.type);
}

DeviceBuffer memory_for(const CudaKVStore::Shape& shape, int capacity) {
  const auto bytes = bytes_of(shape, capacity);
  try {
    DeviceBuffer memory(bytes);
    if (has_gaps(shape)) {
      Stream stream;
      fill_zero(stream, memory.data(), bytes);
      stream.synchronize();
    }
    return memory;
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

void CudaKVStore::reserve(Stream& stream, int offset, int length) {
  set_failure(nullptr);
  try {
    make_room(stream, offset, length);
  } catch (...) {
    set_failure(std::current_exception());
    throw;
  }
}

void CudaKVStore::set_failure(std::exception_ptr why) {
  const std::scoped_lock lock(mutex_);
  failure_ = std::move(why);
}

void CudaKVStore::check() const {
  const std::scoped_lock lock(mutex_);
  if (failure_) std::rethrow_exception(failure_);
}

int CudaKVStore::first_needed(int offset) const {
  const int before = offset + 1 - kMostRewound;
  if (before <= shape_.window) return first_;
  // Kernels look at whole tiles of positions, which begin before the window.
  const int tiles = (before - shape_.window) / kPositionsAtOnce;
  return std::max(first_, tiles * kPositionsAtOnce);
}

void CudaKVStore::make_room(Stream& stream, int offset, int length) {
  if (offset + length - first_ <= capacity_) return;
  // Not when it merely grows: until then a cache goes back to its beginning.
  const bool drops = may_drop(shape_, offset + length);
  const int first = drops ? first_needed(offset) : first_;
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
  copy_positions(stream, larger.as<std::byte>(), capacity, 0, first,
                 offset - first);
  stream.synchronize();
  memory_ = std::move(larger);
  capacity_ = capacity;
  first_ = first;
}

void CudaKVStore::move_to_front(Stream& stream, int first, int offset) {
  // As many at a time as there are before them: copies do not overlap.
  const int by = first - first_;
  for (int at = first; at < offset; at += by) {
    copy_positions(stream, memory_.as<std::byte>(), capacity_, at - first, at,
                   std::min(by, offset - at));
  }
  first_ = first;
}

void CudaKVStore::copy_positions(Stream& stream, std::byte* to, int to_capacity,
                                 int before, int first, int count) const {
  const std::size_t row = cuda::cached_row_bytes(shape_.type, shape_.head_dim);
  const std::size_t scales =
      sizeof(float) * static_cast<std::size_t>(cuda::cached_row_scales(
                          shape_.type, shape_.head_dim));
  const auto* from = memory_.as<const std::byte>();
  for (int i = 0; i < heads_of(shape_); ++i) {
    copy_on_device(stream, to + row * before, from + row * (first - first_),
                   row * count);
    if (scales > 0) {
      copy_on_device(stream, to + row * to_capacity + scales * before,
                     from + row * capacity_ + scales * (first - first_),
                     scales * count);
    }
    to += head_bytes(shape_, to_capacity);
    from += head_bytes(shape_, capacity_);
  }
}

cuda::SegmentView CudaKVStore::view(int offset, int first_row,
                                    int length) const {
  return {memory_.as<unsigned char>(),
          bytes_of(shape_, capacity_) / shape_.num_layers,
          capacity_,
          offset - first_,
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
