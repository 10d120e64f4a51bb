#include "tensor/weight.h"

#include <mlx/ops.h>

#include "base/concat.h"

namespace llamlx {

bool is_supported(const Quantization& q) {
  const bool bits = q.bits >= 2 && q.bits <= 8 && q.bits != 7;
  return bits &&
         (q.group_size == 32 || q.group_size == 64 || q.group_size == 128);
}

mx::Shape Weight::shape() const {
  auto shape = data.shape();
  if (quantization) shape.back() = shape.back() * 32 / quantization->bits;
  return shape;
}

mx::Dtype Weight::dtype() const {
  return scales ? scales->dtype() : data.dtype();
}

std::size_t Weight::nbytes() const {
  return data.nbytes() + (scales ? scales->nbytes() : 0) +
         (biases ? biases->nbytes() : 0);
}

Weight quantize(const mx::array& dense, const Quantization& quantization) {
  auto parts = mx::quantize(dense, quantization.group_size, quantization.bits);
  return {parts[0], parts[1], parts[2], quantization};
}

mx::array dequantize(const Weight& weight, mx::Dtype dtype) {
  if (!weight.quantization) return mx::astype(weight.data, dtype);
  const auto exact = astype(weight, mx::float32);
  const auto values =
      mx::dequantize(exact.data, *exact.scales, exact.biases,
                     exact.quantization->group_size, exact.quantization->bits);
  return mx::astype(values, dtype);
}

Weight astype(const Weight& weight, mx::Dtype dtype) {
  if (!weight.quantization) return {mx::astype(weight.data, dtype)};
  return {weight.data, mx::astype(*weight.scales, dtype),
          mx::astype(*weight.biases, dtype), weight.quantization};
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
  if (!weight.quantization) return {change(weight.data)};
  return {change(weight.data), change(*weight.scales), change(*weight.biases),
          weight.quantization};
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

std::uint64_t stored_bytes(const mx::Shape& shape, mx::Dtype dtype,
                           const std::optional<Quantization>& quantization) {
  const auto count = static_cast<std::uint64_t>(element_count(shape));
  if (!quantization) return count * mx::size_of(dtype);
  const auto bits = static_cast<std::uint64_t>(quantization->bits);
  const auto groups =
      count / static_cast<std::uint64_t>(quantization->group_size);
  // Each group has a scale and a bias.
  return count * bits / 8 + groups * 2 * mx::size_of(dtype);
}

std::string to_string(const Quantization& quantization) {
  return concat("affine ", quantization.bits, "-bit, group ",
                quantization.group_size);
}

std::string to_string(const mx::Shape& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    text += concat(i == 0 ? "" : ", ", shape[i]);
  }
  return text + "]";
}

}  // namespace llamlx
