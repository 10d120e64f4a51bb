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

bool fits_float16(float value) {
  return !std::isfinite(value) || std::abs(value) <= kLargestFloat16;
}

/// Whether `fits` says so of all blocks, which are looked at for it.
template <typename Fits>
mx::Dtype smallest_dtype(const GgufFile& file, const GgufTensor& tensor,
                         const Fits& fits) {
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  bool all = true;
  for (std::size_t at = 0; all && at < tensor.bytes.size(); at += step) {
    all = fits(tensor.bytes.data() + at);
  }
  file.release(tensor);
  return all ? mx::float16 : mx::float32;
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

Weight read_dense(const GgufFile& file, const GgufTensor& tensor,
                  mx::Dtype dtype, const Rows& rows) {
  auto values = buffer_for(file, tensor, tensor.shape, dtype);
  auto* to = values.bytes();
  for (std::size_t row = 0; row < rows.count(); ++row) {
    std::memcpy(to + row * rows.nbytes(), rows[row], rows.nbytes());
  }
  return {std::move(values).finish()};
}

[[noreturn]] void fail_not_finite(const GgufFile& file,
                                  const GgufTensor& tensor) {
  fail(ErrorCode::corrupt_file, file.path().string(),
       concat("tensor ", tensor.name, " has a scale that is not finite"),
       "download or convert it again");
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
    if (!std::isfinite(scale) || !std::isfinite(bias)) {
      fail_not_finite(file, tensor);
    }
  }
  return groups;
}

template <typename T>
void store(std::byte* array, std::size_t index, float value) {
  const T converted(value);
  std::memcpy(array + index * sizeof(T), &converted, sizeof(T));
}

template <typename T>
Weight read_quantized(const GgufFile& file, const GgufTensor& tensor,
                      const GgmlAffineType& type, mx::Dtype dtype,
                      const Rows& rows) {
  auto packed_shape = tensor.shape;
  packed_shape.back() = packed_shape.back() / 32 * type.bits;
  auto group_shape = tensor.shape;
  group_shape.back() /= kGgmlGroupSize;
  auto packed = buffer_for(file, tensor, packed_shape, mx::uint32);
  auto scales = buffer_for(file, tensor, group_shape, dtype);
  auto biases = buffer_for(file, tensor, group_shape, dtype);

  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto packed_step = static_cast<std::size_t>(type.bits) * 4;
  auto* to = packed.bytes();
  auto* scales_to = scales.bytes();
  auto* biases_to = biases.bytes();
  std::array<GgmlGroup, kMostGroups> room;
  std::size_t group = 0;
  for (std::size_t row = 0; row < rows.count(); ++row) {
    const auto* from = rows[row];
    for (std::size_t at = 0; at < rows.nbytes(); at += step) {
      type.pack(from + at, to + group * packed_step);
      for (const auto& [scale, bias] :
           read_groups(file, tensor, type, from + at, room)) {
        store<T>(scales_to, group, scale);
        store<T>(biases_to, group, bias);
        ++group;
      }
    }
  }
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
  if (!std::isfinite(type.bound(block))) fail_not_finite(file, tensor);
  type.expand(block, values);
}

template <typename T, typename Type>
Weight read_expanded(const GgufFile& file, const GgufTensor& tensor,
                     const Type& type, mx::Dtype dtype, const Rows& rows) {
  auto result = buffer_for(file, tensor, tensor.shape, dtype);
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto size = static_cast<std::size_t>(tensor.type->block_size);
  std::array<float, kGgmlSuperblock> values;
  std::size_t index = 0;
  for (std::size_t row = 0; row < rows.count(); ++row) {
    for (std::size_t at = 0; at < rows.nbytes(); at += step) {
      expand(file, tensor, type, rows[row] + at, values.data());
      for (std::size_t i = 0; i < size; ++i) {
        store<T>(result.bytes(), index++, values[i]);
      }
    }
  }
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
                      const GgufWeightFormat& format,
                      std::span<const std::int32_t> row_order) {
  const Rows rows(tensor, row_order);
  const bool is_half = format.dtype == mx::float16;
  const bool is_vector = tensor.shape.size() == 1;
  if (const auto* type = find_ggml_affine_type(tensor.type->type)) {
    if (is_vector) return read_vector(file, tensor, *type, row_order);
    const auto read =
        is_half ? read_quantized<mx::float16_t> : read_quantized<float>;
    return read(file, tensor, *type, format.dtype, rows);
  }
  if (const auto* type = find_ggml_expanded_type(tensor.type->type)) {
    if (is_vector) return read_vector(file, tensor, *type, row_order);
    return is_half
               ? read_expanded<mx::float16_t>(file, tensor, *type, mx::float16,
                                              rows)
               : read_expanded<float>(file, tensor, *type, mx::float32, rows);
  }
  return read_dense(file, tensor, format.dtype, rows);
}

bool fit_float16(const GgmlAffineType& type, const std::byte* block) {
  std::array<GgmlGroup, kMostGroups> groups;
  type.read_groups(block, groups.data());
  return std::all_of(
      groups.begin(), groups.begin() + type.groups, [](const GgmlGroup& group) {
        return fits_float16(group.scale) && fits_float16(group.bias);
      });
}

GgufWeightFormat affine_format(const GgufFile& file, const GgufTensor& tensor,
                               const GgmlAffineType& type) {
  const Quantization quantization{type.bits, kGgmlGroupSize};
  if (type.has_biases) return {mx::float16, quantization};
  const auto fits = [&](const std::byte* block) {
    return fit_float16(type, block);
  };
  return {smallest_dtype(file, tensor, fits), quantization};
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
  if (affine != nullptr) return affine_format(file, tensor, *affine);
  const auto fits = [&](const std::byte* block) {
    return fits_float16(expanded->bound(block));
  };
  return {smallest_dtype(file, tensor, fits)};
}

Weight read_gguf_weight(const GgufFile& file, const GgufTensor& tensor,
                        const GgufWeightFormat& format,
                        std::span<const std::int32_t> row_order) {
  auto weight = read_by_format(file, tensor, format, row_order);
  file.release(tensor);
  return weight;
}

}  // namespace llamlx
