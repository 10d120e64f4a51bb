#include "kernels/held_weight.h"

#include <algorithm>

#include "cpu/quantize/float_codes.h"
#include "cpu/thread_pool.h"

namespace llamlx {
namespace {

constexpr Quantization kWidenedMxfp4 = {.bits = 5, .group_size = kMxGroup};

/// Calls work(begin, end) for all of [0, groups), on all threads.
template <typename Work>
void share_out(std::int64_t groups, const Work& work) {
  constexpr std::int64_t kTaskGroups = 4096;
  thread_pool(0)->run([&](Worker& worker) {
    while (true) {
      const auto begin = worker.next_task() * kTaskGroups;
      if (begin >= groups) break;
      work(begin, std::min(begin + kTaskGroups, groups));
    }
    worker.barrier();
  });
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

Weight hold(const Weight& weight, const ValueFormat& format) {
  if (weight.quantization == format.quantization) {
    return astype(weight, format.dtype);
  }
  return format.quantization ? widened(weight) : expanded(weight);
}

}  // namespace llamlx
