#include "kernels/kv_cache.h"

#include <algorithm>
#include <stdexcept>

#include <mlx/ops.h>

#include "base/concat.h"

namespace llamlx {
namespace {

constexpr int kRowsAtOnce = 256;

int round_up(int rows) {
  return (rows + kRowsAtOnce - 1) / kRowsAtOnce * kRowsAtOnce;
}

/// `buffer` [1, Hkv, S, Dh] with room for `capacity` rows.
mx::array grown(const mx::array& buffer, int capacity) {
  auto more = buffer.shape();
  more[2] = capacity - more[2];
  return mx::concatenate({buffer, mx::zeros(more, buffer.dtype())}, 2);
}

}  // namespace

ArrayKVCache& array_cache(KVCache& cache) {
  if (auto* arrays = dynamic_cast<ArrayKVCache*>(&cache)) return *arrays;
  throw std::invalid_argument("the cache is not of arrays: ask the decoder");
}

void KVCache::rewind(int offset) {
  if (offset < 0 || offset > offset_) {
    throw std::invalid_argument(
        concat("a cache of ", offset_, " rows cannot go back to ", offset));
  }
  if (!can_rewind(offset)) {
    throw std::invalid_argument(
        concat("the rows that row ", offset, " looks at have left the cache"));
  }
  drop_after(offset);
  offset_ = offset;
  expected_length_ = 0;
}

ContiguousKVCache::ContiguousKVCache(int num_layers, int capacity)
    : capacity_(round_up(std::max(capacity, 1))), layers_(num_layers) {}

void ContiguousKVCache::append(int layer, const mx::array& k,
                               const mx::array& v) {
  auto& [keys_values, length] = layers_.at(layer);
  const int rows = k.shape(2);
  if (keys_values.empty()) {
    auto shape = k.shape();
    shape[2] = std::max(capacity_, round_up(rows));
    keys_values = {mx::zeros(shape, k.dtype()), mx::zeros(shape, v.dtype())};
  }
  if (length + rows > keys_values[0].shape(2)) {
    const int capacity = round_up(std::max(length + rows, length * 3 / 2));
    for (auto& buffer : keys_values) buffer = grown(buffer, capacity);
  }
  const mx::Shape start{0, 0, length, 0};
  auto stop = k.shape();
  stop[2] = length + rows;
  keys_values[0] = mx::slice_update(keys_values[0], k, start, stop);
  keys_values[1] = mx::slice_update(keys_values[1], v, start, stop);
  length += rows;
}

std::pair<mx::array, mx::array> ContiguousKVCache::fetch(int layer) const {
  const auto& [keys_values, length] = layers_.at(layer);
  auto stop = keys_values.at(0).shape();
  stop[2] = length;
  const mx::Shape start{0, 0, 0, 0};
  return {mx::slice(keys_values[0], start, stop),
          mx::slice(keys_values[1], start, stop)};
}

void ContiguousKVCache::drop_after(int rows) {
  for (auto& layer : layers_) layer.length = std::min(layer.length, rows);
}

std::vector<mx::array> ContiguousKVCache::state() const {
  std::vector<mx::array> arrays;
  for (const auto& layer : layers_) {
    arrays.insert(arrays.end(), layer.keys_values.begin(),
                  layer.keys_values.end());
  }
  return arrays;
}

}  // namespace llamlx
