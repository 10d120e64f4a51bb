#include "kernels/held_weight.h"

#include <algorithm>
#include <atomic>

#include "base/thread_pool.h"
#include "cpu/quantize/float_codes.h"
#include "cuda/matmul/packed_weight.h"

namespace llamlx {
namespace {

constexpr Quantization kWidenedMxfp4 = {.bits = 5, .group_size = kMxGroup};

/// Calls work(begin, end) for all of [0, groups), on all threads.
template <typename Work>
void share_out(std::int64_t groups, const Work& work) {
  constexpr std::int64_t kTaskGroups = 4096;
  thread_pool(0)->run_parts(groups, kTaskGroups, work);
}

/// Codes and scales of a packed weight where they lie.
struct PackedCodes {
  explicit PackedCodes(const Weight& weight)
      : data(row_by_row(weight.data)), scales(row_by_row(*weight.scales)) {}

  std::int64_t groups() const {
    return static_cast<std::int64_t>(scales.size());
  }
  const std::uint8_t* codes_at(std::int64_t group) const {
    return data.data<std::uint8_t>() +
           static_cast<std::int64_t>(data.nbytes()) / groups() * group;
  }
  const std::uint8_t* scale_at(std::int64_t group) const {
    return scales.data<std::uint8_t>() + group;
  }

  mx::array data, scales;
};

Weight widened(const Weight& weight) {
  const PackedCodes from(weight);
  auto packed = weight.data.shape();
  packed.back() = packed.back() / 4 * 5;
  const auto groups = weight.scales->shape();
  Weight result{new_array(packed, mx::uint32), new_array(groups, mx::bfloat16),
                new_array(groups, mx::bfloat16), kWidenedMxfp4};
  auto* data = result.data.data<std::uint8_t>();
  auto* scales = result.scales->data<std::uint16_t>();
  auto* biases = result.biases->data<std::uint16_t>();
  share_out(from.groups(), [&](std::int64_t begin, std::int64_t end) {
    mxfp4_as_affine(from.codes_at(begin), from.scale_at(begin), end - begin,
                    {data + begin * kMxGroup * kWidenedMxfp4.bits / 8,
                     scales + begin, biases + begin});
  });
  return result;
}

Weight expanded(const Weight& weight) {
  const PackedCodes from(weight);
  const auto& q = *weight.quantization;
  const auto expand =
      q.mode == QuantizationMode::mxfp8 ? mxfp8_as_bf16 : nvfp4_as_bf16;
  auto values = new_array(weight.shape(), mx::bfloat16);
  auto* out = values.data<std::uint16_t>();
  share_out(from.groups(), [&](std::int64_t begin, std::int64_t end) {
    expand(from.codes_at(begin), from.scale_at(begin), end - begin,
           out + begin * q.group_size);
  });
  return {std::move(values)};
}

/// Whether all scales are below `end`.
bool are_below(const std::uint8_t* scales, std::int64_t count,
               std::uint8_t end) {
  bool result = true;
  for (std::int64_t i = 0; i < count; ++i) result &= scales[i] < end;
  return result;
}

/// Whether none of mxfp8's codes is NaN: all bits but the sign.
bool are_numbers(const std::uint8_t* codes, std::int64_t count) {
  constexpr std::uint8_t kNaN = 0x7f;
  bool result = true;
  for (std::int64_t i = 0; i < count; ++i) result &= (codes[i] & kNaN) != kNaN;
  return result;
}

}  // namespace

ValueFormat held_by_ops(const ValueFormat& stored, mx::Dtype compute) {
  return {compute, stored.quantization};
}

ValueFormat held_by_kernels(const ValueFormat& stored, mx::Dtype compute) {
  const bool keeps = mx::size_of(stored.dtype) <= mx::size_of(compute);
  ValueFormat held{keeps ? stored.dtype : compute, stored.quantization};
  if (!held.quantization || held.quantization->is_affine()) return held;
  const bool is_mxfp4 = held.quantization->mode == QuantizationMode::mxfp4;
  held.quantization.reset();
  if (is_mxfp4) held.quantization = kWidenedMxfp4;
  return held;
}

ValueFormat held_by_cuda_kernels(const ValueFormat& stored, mx::Dtype compute) {
  auto held = held_by_kernels(stored, compute);
  // But for mxfp4.
  if (!held.quantization) held.quantization = stored.quantization;
  return held;
}

bool is_read_by_cuda_kernels(const Weight& weight) {
  const auto& q = weight.quantization;
  const bool is_mxfp8 = q && q->mode == QuantizationMode::mxfp8;
  const bool is_nvfp4 = q && q->mode == QuantizationMode::nvfp4;
  if (!is_mxfp8 && !is_nvfp4) return true;
  const PackedCodes from(weight);
  std::atomic<bool> result = true;
  share_out(from.groups(), [&](std::int64_t begin, std::int64_t end) {
    const auto scales_end =
        is_mxfp8 ? cuda::kMxfp8ScalesEnd : cuda::kNvfp4ScalesEnd;
    const bool is_so =
        are_below(from.scale_at(begin), end - begin, scales_end) &&
        (is_nvfp4 ||
         are_numbers(from.codes_at(begin), (end - begin) * kMxGroup));
    if (!is_so) result = false;
  });
  return result;
}

Weight hold(const Weight& weight, const ValueFormat& format) {
  if (weight.quantization == format.quantization) {
    return astype(weight, format.dtype);
  }
  return format.quantization ? widened(weight) : expanded(weight);
}

}  // namespace llamlx
