#include "convert/quantize_weight.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

#include "base/thread_pool.h"
#include "cpu/quantize/float_codes.h"

namespace llamlx {
namespace {

// Little enough for threads to end together, even where one is kept waiting;
// enough for handing it out not to count.
constexpr std::int64_t kTaskValues = std::int64_t{1} << 18;

std::optional<ValueType> value_type(mx::Dtype dtype) {
  if (dtype == mx::float32) return ValueType::f32;
  if (dtype == mx::float16) return ValueType::f16;
  if (dtype == mx::bfloat16) return ValueType::bf16;
  return {};
}

Weight new_weight(const mx::Shape& shape, mx::Dtype dtype,
                  const Quantization& quantization) {
  const auto& [bits, group_size, mode] = quantization;
  auto groups = shape;
  groups.back() /= group_size;
  auto packed = shape;
  packed.back() = groups.back() * (group_size * bits / 32);
  Weight weight{new_array(packed, mx::uint32), {}, {}, quantization};
  const bool is_affine = quantization.is_affine();
  weight.scales = new_array(groups, is_affine ? dtype : mx::uint8);
  if (is_affine) weight.biases = new_array(groups, dtype);
  return weight;
}

/// Null: affine.
QuantizeNumbers quantizer_of(QuantizationMode mode) {
  switch (mode) {
    case QuantizationMode::affine:
      return nullptr;
    case QuantizationMode::mxfp4:
      return quantize_mxfp4;
    case QuantizationMode::mxfp8:
      return quantize_mxfp8;
    case QuantizationMode::nvfp4:
      return quantize_nvfp4;
  }
  return nullptr;
}

std::byte* bytes_of(std::optional<mx::array>& values) {
  return values ? values->data<std::byte>() : nullptr;
}

/// The rows of the first axis, each as one run of values.
class RowQuantizer {
 public:
  RowQuantizer(const mx::array& values, mx::Dtype dtype, Weight& result)
      : source_(*value_type(values.dtype())),
        format_{*value_type(dtype), result.quantization->bits,
                result.quantization->group_size},
        quantize_numbers_(quantizer_of(result.quantization->mode)),
        row_values_(element_count(values.shape()) / values.shape(0)),
        scale_bytes_(static_cast<std::int64_t>(result.scales->itemsize())),
        from_(values.data<std::byte>()),
        data_(result.data.data<std::byte>()),
        scales_(bytes_of(result.scales)),
        biases_(bytes_of(result.biases)) {}

  std::int64_t row_values() const { return row_values_; }

  /// Rows [from, from + count) become rows [to, to + count) of the result.
  void run(std::int64_t from, std::int64_t to, std::int64_t count) {
    const auto groups = row_values_ / format_.group_size;
    const auto scale = to * groups * scale_bytes_;
    const QuantizedRows out = {data_ + to * row_values_ * format_.bits / 8,
                               scales_ + scale,
                               biases_ == nullptr ? nullptr : biases_ + scale};
    const auto* values =
        from_ +
        from * row_values_ * static_cast<std::int64_t>(size_of(source_));
    const auto finiteness =
        quantize_numbers_ != nullptr
            ? quantize_numbers_(values, source_, format_.values, count * groups,
                                out)
            : quantize_rows(format_, values, source_, count * groups,
                            format_.group_size, out);
    if (!finiteness.source) source_is_finite_ = false;
    if (!finiteness.result) result_is_finite_ = false;
  }

  Finiteness finiteness() const {
    return {source_is_finite_, result_is_finite_};
  }

 private:
  const ValueType source_;
  const WeightFormat format_;
  const QuantizeNumbers quantize_numbers_;
  const std::int64_t row_values_;
  const std::int64_t scale_bytes_;
  const std::byte* const from_;
  std::byte* const data_;
  std::byte* const scales_;
  std::byte* const biases_;
  std::atomic<bool> source_is_finite_ = true;
  std::atomic<bool> result_is_finite_ = true;
};

}  // namespace

bool is_quantizable(mx::Dtype dtype) { return value_type(dtype).has_value(); }

QuantizedWeight quantize_weight(const mx::array& values,
                                std::span<const std::int32_t> order,
                                mx::Dtype dtype,
                                const Quantization& quantization) {
  auto weight = new_weight(values.shape(), dtype, quantization);
  const std::int64_t rows = values.shape(0);
  if (values.size() == 0) return {std::move(weight), {true, true}};
  RowQuantizer quantizer(values, dtype, weight);
  const auto step =
      std::max<std::int64_t>(kTaskValues / quantizer.row_values(), 1);
  thread_pool(0)->run_parts(
      rows, step, [&](std::int64_t begin, std::int64_t end) {
        if (order.empty()) return quantizer.run(begin, begin, end - begin);
        for (auto row = begin; row < end; ++row) {
          quantizer.run(order[static_cast<std::size_t>(row)], row, 1);
        }
      });
  const auto finiteness = quantizer.finiteness();
  return {std::move(weight), finiteness};
}

}  // namespace llamlx
