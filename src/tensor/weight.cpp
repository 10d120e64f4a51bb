#include "tensor/weight.h"

#include <mlx/allocator.h>
#include <mlx/ops.h>

#include "base/concat.h"

namespace llamlx {

mx::Shape Weight::shape() const {
  auto shape = data.shape();
  if (quantization) shape.back() = shape.back() * 32 / quantization->bits;
  return shape;
}

mx::Dtype Weight::dtype() const {
  if (!quantization) return data.dtype();
  return quantization->is_affine() ? scales->dtype() : mx::bfloat16;
}

std::size_t Weight::nbytes() const {
  std::size_t bytes = 0;
  for (const auto& part : parts_of(*this)) bytes += part.nbytes();
  return bytes;
}

std::vector<mx::array> parts_of(const Weight& weight) {
  std::vector<mx::array> parts;
  if (weight.biases) parts.push_back(*weight.biases);
  if (weight.scales) parts.push_back(*weight.scales);
  parts.push_back(weight.data);
  return parts;
}

Weight quantize(const mx::array& dense, const Quantization& quantization) {
  const auto& [bits, group_size, mode] = quantization;
  auto parts = mx::quantize(dense, group_size, bits, to_string(mode));
  Weight weight{parts[0], parts[1], {}, quantization};
  if (quantization.is_affine()) weight.biases = parts[2];
  return weight;
}

mx::array dequantize(const Weight& weight, mx::Dtype dtype) {
  if (!weight.quantization) return mx::astype(weight.data, dtype);
  const auto& [bits, group_size, mode] = *weight.quantization;
  const auto exact = astype(weight, mx::float32);
  const auto values =
      mx::dequantize(exact.data, *exact.scales, exact.biases, group_size, bits,
                     to_string(mode), std::nullopt, mx::float32);
  return mx::astype(values, dtype);
}

Weight astype(const Weight& weight, mx::Dtype dtype) {
  if (!weight.quantization) return {mx::astype(weight.data, dtype)};
  if (!weight.quantization->is_affine()) return weight;
  return {weight.data, mx::astype(*weight.scales, dtype),
          mx::astype(*weight.biases, dtype), weight.quantization};
}

mx::array new_array(const mx::Shape& shape, mx::Dtype dtype) {
  const auto size = static_cast<std::size_t>(element_count(shape));
  return mx::array(
      mx::allocator::Data(mx::allocator::malloc(size * dtype.size())), shape,
      dtype);
}

mx::array row_by_row(const mx::array& values) {
  auto rows = values;
  rows.eval();
  if (rows.flags().row_contiguous) return rows;
  // Which copies what stands on a mapped file in any case.
  rows = mx::contiguous(rows);
  rows.eval();
  return rows;
}

namespace {

/// Applies `change` to every part of a weight.
template <typename Change>
Weight with_parts(const Weight& weight, const Change& change) {
  auto changed = weight;
  changed.data = change(weight.data);
  if (weight.scales) changed.scales = change(*weight.scales);
  if (weight.biases) changed.biases = change(*weight.biases);
  return changed;
}

}  // namespace

Weight slice_rows(const Weight& weight, int begin, int end) {
  return with_parts(weight, [&](const mx::array& part) {
    mx::Shape start(part.ndim(), 0);
    auto stop = part.shape();
    start[0] = begin;
    stop[0] = end;
    return mx::slice(part, start, stop);
  });
}

Weight join_rows(const Weight& weight) {
  return with_parts(
      weight, [](const mx::array& part) { return mx::flatten(part, 0, -2); });
}

Weight as_one_of_many(const Weight& weight) {
  return with_parts(
      weight, [](const mx::array& part) { return mx::expand_dims(part, 0); });
}

Weight take_rows(const Weight& weight, const mx::array& indices) {
  return with_parts(weight, [&](const mx::array& part) {
    return mx::take(part, indices, 0);
  });
}

std::string to_string(mx::Dtype dtype) {
  switch (dtype.val()) {
    case mx::Dtype::Val::float16:
      return "float16";
    case mx::Dtype::Val::bfloat16:
      return "bfloat16";
    case mx::Dtype::Val::float32:
      return "float32";
    default:
      return concat(dtype);
  }
}

std::optional<mx::Dtype> float_dtype(std::string_view name) {
  if (name == "float16") return mx::float16;
  if (name == "bfloat16") return mx::bfloat16;
  if (name == "float32") return mx::float32;
  return {};
}

std::int64_t element_count(const mx::Shape& shape) {
  std::int64_t count = 1;
  for (const auto dimension : shape) count *= dimension;
  return count;
}

std::uint64_t stored_bytes(const mx::Shape& shape, const ValueFormat& format) {
  const auto& [dtype, quantization] = format;
  const auto count = static_cast<std::uint64_t>(element_count(shape));
  if (!quantization) return count * mx::size_of(dtype);
  const auto bits = static_cast<std::uint64_t>(quantization->bits);
  const auto groups =
      count / static_cast<std::uint64_t>(quantization->group_size);
  // Of a group: a scale and a bias, or a scale that is a byte.
  const auto more = quantization->is_affine() ? 2 * mx::size_of(dtype) : 1;
  return count * bits / 8 + groups * more;
}

std::string to_string(const mx::Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += concat(i == 0 ? "" : ", ", shape[i]);
  }
  return text + "]";
}

}  // namespace llamlx
