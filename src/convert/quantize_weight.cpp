#include "convert/quantize_weight.h"

#include <algorithm>
#include <atomic>
#include <cstddef>
#include <optional>
#include <utility>

#include "cpu/thread_pool.h"

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
  auto packed = shape;
  packed.back() = shape.back() / 32 * quantization.bits;
  auto groups = shape;
  groups.back() /= quantization.group_size;
  return {new_array(packed, mx::uint32), new_array(groups, dtype),
          new_array(groups, dtype), quantization};
}

std::byte* bytes_of(mx::array& values) { return values.data<std::byte>(); }

/// The rows of the first axis, each as one run of values.
class RowQuantizer {
 public:
  RowQuantizer(const mx::array& values, Weight& result)
      : source_(*value_type(values.dtype())),
        format_{*value_type(result.dtype()), result.quantization->bits,
                result.quantization->group_size},
        row_values_(element_count(values.shape()) / values.shape(0)),
        from_(values.data<std::byte>()),
        data_(bytes_of(result.data)),
        scales_(bytes_of(*result.scales)),
        biases_(bytes_of(*result.biases)) {}

  std::int64_t row_values() const { return row_values_; }

  /// Rows [from, from + count) become rows [to, to + count) of the result.
  void run(std::int64_t from, std::int64_t to, std::int64_t count) {
    const auto groups = row_values_ / format_.group_size;
    const auto value_bytes = static_cast<std::int64_t>(size_of(format_.values));
    const auto finiteness =
        quantize_rows(format_,
                      from_ + from * row_values_ *
                                  static_cast<std::int64_t>(size_of(source_)),
                      source_, count * groups, format_.group_size,
                      {data_ + to * row_values_ * format_.bits / 8,
                       scales_ + to * groups * value_bytes,
                       biases_ + to * groups * value_bytes});
    if (!finiteness.source) source_is_finite_ = false;
    if (!finiteness.result) result_is_finite_ = false;
  }

  Finiteness finiteness() const {
    return {source_is_finite_, result_is_finite_};
  }

 private:
  const ValueType source_;
  const WeightFormat format_;
  const std::int64_t row_values_;
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
  RowQuantizer quantizer(values, weight);
  const auto step =
      std::max<std::int64_t>(kTaskValues / quantizer.row_values(), 1);
  const auto pool = thread_pool(0);
  pool->run([&](Worker& worker) {
    while (true) {
      const auto begin = worker.next_task() * step;
      if (begin >= rows) break;
      const auto count = std::min(step, rows - begin);
      if (order.empty()) {
        quantizer.run(begin, begin, count);
        continue;
      }
      for (auto row = begin; row < begin + count; ++row) {
        quantizer.run(order[static_cast<std::size_t>(row)], row, 1);
      }
    }
    worker.barrier();
  });
  const auto finiteness = quantizer.finiteness();
  return {std::move(weight), finiteness};
}

}  // namespace llamlx
