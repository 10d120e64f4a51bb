#include "formats/gguf_blocks.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include <mlx/types/half_types.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/thread_pool.h"
#include "formats/array_buffer.h"
#include "formats/ggml_blocks.h"

namespace llamlx {
namespace {

constexpr float kLargestFloat16 = 65504;
constexpr int kMostGroups = 8;  // of a block

std::optional<mx::Dtype> dense_dtype(GgmlType type) {
  switch (type) {
    case GgmlType::f32:
      return mx::float32;
    case GgmlType::f16:
      return mx::float16;
    case GgmlType::bf16:
      return mx::bfloat16;
    default:
      return {};
  }
}

ArrayBuffer buffer_for(const GgufFile& file, const GgufTensor& tensor,
                       mx::Shape shape, mx::Dtype dtype) {
  return {std::move(shape), dtype, file.path(), concat("tensor ", tensor.name)};
}

/// The rows of a tensor in the order they are wanted.
class Rows {
 public:
  Rows(const GgufTensor& tensor, std::span<const std::int32_t> order)
      : bytes_(tensor.bytes),
        count_(static_cast<std::size_t>(tensor.shape.front())),
        order_(order) {
    if (!order.empty() && order.size() != count_) {
      throw std::invalid_argument("row_order does not have one entry a row");
    }
  }

  std::size_t count() const { return count_; }
  std::size_t nbytes() const { return bytes_.size() / count_; }

  const std::byte* operator[](std::size_t row) const {
    if (!order_.empty()) row = static_cast<std::size_t>(order_[row]);
    return bytes_.subspan(row * nbytes(), nbytes()).data();
  }

 private:
  std::span<const std::byte> bytes_;
  std::size_t count_;
  std::span<const std::int32_t> order_;
};

/// Calls work(row) for all rows, on all threads.
template <typename Work>
void for_each_row(const Rows& rows, const Work& work) {
  constexpr std::size_t kTaskBytes = 64 << 10;
  const auto step = kTaskBytes / std::max<std::size_t>(rows.nbytes(), 1) + 1;
  thread_pool(0)->run_parts(static_cast<std::int64_t>(rows.count()),
                            static_cast<std::int64_t>(step),
                            [&](std::int64_t begin, std::int64_t end) {
                              for (auto row = begin; row < end; ++row) {
                                work(static_cast<std::size_t>(row));
                              }
                            });
}

Weight read_dense(const GgufFile& file, const GgufTensor& tensor,
                  mx::Dtype dtype, const Rows& rows) {
  auto values = buffer_for(file, tensor, tensor.shape, dtype);
  auto* to = values.bytes();
  for_each_row(rows, [&](std::size_t row) {
    std::memcpy(to + row * rows.nbytes(), rows[row], rows.nbytes());
  });
  return {std::move(values).finish()};
}

/// A scale, a bias, or the largest value of a block. Vectors are float32, which
/// has room for whatever is finite.
void check_size(const GgufFile& file, const GgufTensor& tensor, float number) {
  if (!std::isfinite(number)) {
    fail(ErrorCode::corrupt_file, file.path().string(),
         concat("tensor ", tensor.name, " has a scale that is not finite"),
         "download or convert it again");
  }
  if (tensor.shape.size() > 1 && std::abs(number) > kLargestFloat16) {
    fail(ErrorCode::unsupported, file.path().string(),
         concat("tensor ", tensor.name, " has numbers up to ", number,
                ", which float16 does not hold"),
         "take the model in F16 or BF16");
  }
}

/// The groups of a block.
std::span<const GgmlGroup> read_groups(const GgufFile& file,
                                       const GgufTensor& tensor,
                                       const GgmlAffineType& type,
                                       const std::byte* block,
                                       std::span<GgmlGroup, kMostGroups> room) {
  type.read_groups(block, room.data());
  const auto groups = room.first(static_cast<std::size_t>(type.groups));
  for (const auto& [scale, bias] : groups) {
    check_size(file, tensor, scale);
    check_size(file, tensor, bias);
  }
  return groups;
}

template <typename T>
void store(std::byte* array, std::size_t index, float value) {
  const T converted(value);
  std::memcpy(array + index * sizeof(T), &converted, sizeof(T));
}

Weight read_quantized(const GgufFile& file, const GgufTensor& tensor,
                      const GgmlAffineType& type, const Rows& rows) {
  auto packed_shape = tensor.shape;
  packed_shape.back() = packed_shape.back() / 32 * type.bits;
  auto group_shape = tensor.shape;
  group_shape.back() /= kGgmlGroupSize;
  auto packed = buffer_for(file, tensor, packed_shape, mx::uint32);
  auto scales = buffer_for(file, tensor, group_shape, mx::float16);
  auto biases = buffer_for(file, tensor, group_shape, mx::float16);

  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto packed_step = static_cast<std::size_t>(type.bits) * 4;
  auto* to = packed.bytes();
  auto* scales_to = scales.bytes();
  auto* biases_to = biases.bytes();
  const auto row_groups =
      rows.nbytes() / step * static_cast<std::size_t>(type.groups);
  for_each_row(rows, [&](std::size_t row) {
    const auto* from = rows[row];
    auto group = row * row_groups;
    std::array<GgmlGroup, kMostGroups> room;
    for (std::size_t at = 0; at < rows.nbytes(); at += step) {
      type.pack(from + at, to + group * packed_step);
      for (const auto& [scale, bias] :
           read_groups(file, tensor, type, from + at, room)) {
        store<mx::float16_t>(scales_to, group, scale);
        store<mx::float16_t>(biases_to, group, bias);
        ++group;
      }
    }
  });
  return {std::move(packed).finish(), std::move(scales).finish(),
          std::move(biases).finish(), Quantization{type.bits, kGgmlGroupSize}};
}

/// What `bits` from bit `at` on are.
float code_at(const std::byte* packed, int at, int bits) {
  std::uint16_t two = std::to_integer<std::uint8_t>(packed[at / 8]);
  if (at % 8 + bits > 8) {
    two |= static_cast<std::uint16_t>(std::to_integer<int>(packed[at / 8 + 1])
                                      << 8);
  }
  return static_cast<float>(two >> (at % 8) & ((1 << bits) - 1));
}

/// The values of a block.
void expand(const GgufFile& file, const GgufTensor& tensor,
            const GgmlAffineType& type, const std::byte* block, float* values) {
  std::array<std::byte, std::size_t{kMostGroups} * kGgmlGroupSize> packed;
  std::array<GgmlGroup, kMostGroups> room;
  type.pack(block, packed.data());
  int at = 0;
  for (const auto& [scale, bias] :
       read_groups(file, tensor, type, block, room)) {
    for (int i = 0; i < kGgmlGroupSize; ++i, at += type.bits) {
      *values++ = scale * code_at(packed.data(), at, type.bits) + bias;
    }
  }
}

void expand(const GgufFile& file, const GgufTensor& tensor,
            const GgmlExpandedType& type, const std::byte* block,
            float* values) {
  check_size(file, tensor, type.bound(block));
  type.expand(block, values);
}

Weight read_expanded(const GgufFile& file, const GgufTensor& tensor,
                     const GgmlExpandedType& type, const Rows& rows) {
  auto result = buffer_for(file, tensor, tensor.shape, mx::float16);
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto size = static_cast<std::size_t>(tensor.type->block_size);
  auto* to = result.bytes();
  for_each_row(rows, [&](std::size_t row) {
    auto index = row * (rows.nbytes() / step) * size;
    std::array<float, kGgmlSuperblock> values;
    for (std::size_t at = 0; at < rows.nbytes(); at += step) {
      expand(file, tensor, type, rows[row] + at, values.data());
      for (std::size_t i = 0; i < size; ++i) {
        store<mx::float16_t>(to, index++, values[i]);
      }
    }
  });
  return {std::move(result).finish()};
}

/// A vector, whose entries are ordered as rows are.
template <typename Type>
Weight read_vector(const GgufFile& file, const GgufTensor& tensor,
                   const Type& type, std::span<const std::int32_t> order) {
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto size = static_cast<std::size_t>(tensor.type->block_size);
  std::vector<float> values(static_cast<std::size_t>(tensor.shape.front()));
  for (std::size_t i = 0; i < values.size(); i += size) {
    expand(file, tensor, type, tensor.bytes.data() + i / size * step,
           &values[i]);
  }
  auto result = buffer_for(file, tensor, tensor.shape, mx::float32);
  for (std::size_t i = 0; i < values.size(); ++i) {
    const auto from = order.empty() ? i : static_cast<std::size_t>(order[i]);
    store<float>(result.bytes(), i, values[from]);
  }
  return {std::move(result).finish()};
}

Weight read_by_format(const GgufFile& file, const GgufTensor& tensor,
                      std::span<const std::int32_t> row_order) {
  const Rows rows(tensor, row_order);
  const bool is_vector = tensor.shape.size() == 1;
  if (const auto* type = find_ggml_affine_type(tensor.type->type)) {
    return is_vector ? read_vector(file, tensor, *type, row_order)
                     : read_quantized(file, tensor, *type, rows);
  }
  if (const auto* type = find_ggml_expanded_type(tensor.type->type)) {
    return is_vector ? read_vector(file, tensor, *type, row_order)
                     : read_expanded(file, tensor, *type, rows);
  }
  return read_dense(file, tensor, gguf_weight_format(file, tensor).dtype, rows);
}

}  // namespace

GgufWeightFormat gguf_weight_format(const GgufFile& file,
                                    const GgufTensor& tensor) {
  if (const auto dtype = dense_dtype(tensor.type->type)) return {*dtype};
  const auto* affine = find_ggml_affine_type(tensor.type->type);
  const auto* expanded = find_ggml_expanded_type(tensor.type->type);
  if (affine == nullptr && expanded == nullptr) {
    fail_unsupported_type(file.path(), tensor.name, tensor.type->name);
  }
  if (tensor.shape.size() == 1) return {mx::float32};
  if (affine == nullptr) return {mx::float16};
  return {mx::float16, Quantization{affine->bits, kGgmlGroupSize}};
}

Weight read_gguf_weight(const GgufFile& file, const GgufTensor& tensor,
                        std::span<const std::int32_t> row_order) {
  auto weight = read_by_format(file, tensor, row_order);
  file.release(tensor);
  return weight;
}

}  // namespace llamlx
