#include "formats/gguf_blocks.h"

#include <bit>
#include <cmath>
#include <cstring>
#include <stdexcept>
#include <utility>
#include <vector>

#include <mlx/types/half_types.h>

#include "base/concat.h"
#include "base/error.h"
#include "formats/array_buffer.h"

namespace llamlx {
namespace {

constexpr int kGroupSize = 32;
constexpr float kLargestFloat16 = 65504;

float read_half(const std::byte* at) {
  std::uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return static_cast<float>(std::bit_cast<mx::float16_t>(bits));
}

/// Eight bytes below 16 become eight neighbouring 4-bit fields.
std::uint32_t join_nibbles(std::uint64_t bytes) {
  bytes = (bytes | bytes >> 4) & 0x00ff00ff00ff00ff;
  bytes = (bytes | bytes >> 8) & 0x0000ffff0000ffff;
  return static_cast<std::uint32_t>(bytes | bytes >> 16);
}

/// The 32 integers of a Q4_* block as MLX packs them: four words.
void pack_nibbles(const std::byte* block, std::byte* packed) {
  constexpr std::uint64_t kLow = 0x0f0f0f0f0f0f0f0f;
  std::uint64_t halves[2];
  std::memcpy(halves, block, sizeof(halves));
  const std::uint32_t words[4] = {
      join_nibbles(halves[0] & kLow), join_nibbles(halves[1] & kLow),
      join_nibbles(halves[0] >> 4 & kLow), join_nibbles(halves[1] >> 4 & kLow)};
  std::memcpy(packed, words, sizeof(words));
}

/// The 32 int8 of a Q8_0 block with 128 added: 32 bytes.
void pack_bytes(const std::byte* block, std::byte* packed) {
  for (int i = 0; i < kGroupSize; ++i) packed[i] = block[i] ^ std::byte{0x80};
}

/// How a block type is told in affine terms.
struct BlockLayout {
  GgmlType type;
  int bits;
  float bias_factor;  // bias = bias_factor * d; 0: the block holds the bias
  int integers_at;    // byte where the integers begin
  void (*pack)(const std::byte* block, std::byte* packed);
};

constexpr BlockLayout kLayouts[] = {
    {GgmlType::q4_0, 4, -8, 2, pack_nibbles},
    {GgmlType::q4_1, 4, 0, 4, pack_nibbles},
    {GgmlType::q8_0, 8, -128, 2, pack_bytes},
};

const BlockLayout* find_layout(GgmlType type) {
  for (const auto& layout : kLayouts) {
    if (layout.type == type) return &layout;
  }
  return nullptr;
}

float read_bias(const BlockLayout& layout, const std::byte* block) {
  return layout.bias_factor == 0 ? read_half(block + 2)
                                 : layout.bias_factor * read_half(block);
}

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

/// A product with -8 or -128 is exact in float16 unless it overflows.
bool biases_fit_float16(const GgufTensor& tensor, const BlockLayout& layout) {
  if (layout.bias_factor == 0) return true;
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  for (std::size_t at = 0; at < tensor.bytes.size(); at += step) {
    const float bias = read_bias(layout, tensor.bytes.data() + at);
    if (std::isfinite(bias) && std::abs(bias) > kLargestFloat16) return false;
  }
  return true;
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

/// One block in affine terms.
struct Block {
  float scale;
  float bias;
};

Block read_block(const GgufFile& file, const GgufTensor& tensor,
                 const BlockLayout& layout, const std::byte* at) {
  const Block block{read_half(at), read_bias(layout, at)};
  if (!std::isfinite(block.scale) || !std::isfinite(block.bias)) {
    fail(ErrorCode::corrupt_file, file.path().string(),
         concat("tensor ", tensor.name, " has a scale that is not finite"),
         "download or convert it again");
  }
  return block;
}

template <typename T>
void store(std::byte* array, std::size_t index, float value) {
  const T converted(value);
  std::memcpy(array + index * sizeof(T), &converted, sizeof(T));
}

template <typename T>
Weight read_quantized(const GgufFile& file, const GgufTensor& tensor,
                      const BlockLayout& layout, mx::Dtype dtype,
                      const Rows& rows) {
  auto packed_shape = tensor.shape;
  packed_shape.back() = packed_shape.back() / 32 * layout.bits;
  auto group_shape = tensor.shape;
  group_shape.back() /= kGroupSize;
  auto packed = buffer_for(file, tensor, packed_shape, mx::uint32);
  auto scales = buffer_for(file, tensor, group_shape, dtype);
  auto biases = buffer_for(file, tensor, group_shape, dtype);

  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  const auto packed_step = static_cast<std::size_t>(kGroupSize / 8) *
                           static_cast<std::size_t>(layout.bits);
  auto* to = packed.bytes();
  auto* scales_to = scales.bytes();
  auto* biases_to = biases.bytes();
  std::size_t group = 0;
  for (std::size_t row = 0; row < rows.count(); ++row) {
    const auto* from = rows[row];
    for (std::size_t at = 0; at < rows.nbytes(); at += step, ++group) {
      const auto block = read_block(file, tensor, layout, from + at);
      store<T>(scales_to, group, block.scale);
      store<T>(biases_to, group, block.bias);
      layout.pack(from + at + layout.integers_at, to + group * packed_step);
    }
  }
  return {std::move(packed).finish(), std::move(scales).finish(),
          std::move(biases).finish(), Quantization{layout.bits, kGroupSize}};
}

std::vector<float> expand(const GgufFile& file, const GgufTensor& tensor,
                          const BlockLayout& layout) {
  std::vector<float> values;
  values.reserve(static_cast<std::size_t>(tensor.shape.back()));
  const auto step = static_cast<std::size_t>(tensor.type->block_bytes);
  for (std::size_t at = 0; at < tensor.bytes.size(); at += step) {
    const auto* from = tensor.bytes.data() + at;
    const auto block = read_block(file, tensor, layout, from);
    std::byte packed[kGroupSize];
    layout.pack(from + layout.integers_at, packed);
    for (int i = 0; i < kGroupSize; ++i) {
      const int bit = i * layout.bits;
      const auto field = std::to_integer<int>(packed[bit / 8]) >> (bit % 8);
      const int q = field & ((1 << layout.bits) - 1);
      values.push_back(block.scale * static_cast<float>(q) + block.bias);
    }
  }
  return values;
}

Weight read_expanded(const GgufFile& file, const GgufTensor& tensor,
                     const BlockLayout& layout,
                     std::span<const std::int32_t> order) {
  const auto values = expand(file, tensor, layout);
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
  const auto* layout = find_layout(tensor.type->type);
  if (layout == nullptr) return read_dense(file, tensor, format.dtype, rows);
  if (!format.quantization) {
    return read_expanded(file, tensor, *layout, row_order);
  }
  const auto read = format.dtype == mx::float16 ? read_quantized<mx::float16_t>
                                                : read_quantized<float>;
  return read(file, tensor, *layout, format.dtype, rows);
}

}  // namespace

GgufWeightFormat gguf_weight_format(const GgufFile& file,
                                    const GgufTensor& tensor) {
  if (const auto dtype = dense_dtype(tensor.type->type)) return {*dtype};
  const auto* layout = find_layout(tensor.type->type);
  if (layout == nullptr) {
    fail_unsupported_type(file.path(), tensor.name, tensor.type->name);
  }
  if (tensor.shape.size() == 1) return {mx::float32};
  const bool fit = biases_fit_float16(tensor, *layout);
  if (layout->bias_factor != 0) file.release(tensor);
  return {fit ? mx::float16 : mx::float32,
          Quantization{layout->bits, kGroupSize}};
}

Weight read_gguf_weight(const GgufFile& file, const GgufTensor& tensor,
                        const GgufWeightFormat& format,
                        std::span<const std::int32_t> row_order) {
  auto weight = read_by_format(file, tensor, format, row_order);
  file.release(tensor);
  return weight;
}

}  // namespace llamlx
