#include "tensor/finite.h"

#include <cstdint>
#include <span>

namespace llamlx {
namespace {

/// Infinities and NaNs are the values whose exponent bits are all set. The sum
/// has no early end, so that compilers make vectors of it.
template <typename Bits>
bool none_has_all(const mx::array& values, Bits exponent) {
  const std::span<const Bits> all(values.data<Bits>(),
                                  values.nbytes() / sizeof(Bits));
  Bits found = 0;
  for (const Bits bits : all) {
    found |= static_cast<Bits>((bits & exponent) == exponent);
  }
  return found == 0;
}

}  // namespace

bool all_finite(const mx::array& values) {
  const auto rows = row_by_row(values);
  switch (rows.dtype().val()) {
    case mx::Dtype::Val::float16:
      return none_has_all<std::uint16_t>(rows, 0x7c00);
    case mx::Dtype::Val::bfloat16:
      return none_has_all<std::uint16_t>(rows, 0x7f80);
    case mx::Dtype::Val::float32:
      return none_has_all<std::uint32_t>(rows, 0x7f800000);
    case mx::Dtype::Val::float64:
      return none_has_all<std::uint64_t>(rows, 0x7ff0000000000000);
    default:
      return true;
  }
}

bool all_finite(const Weight& weight) {
  if (!weight.quantization) return all_finite(weight.data);
  const auto bytes_lack = [](const mx::array& values, std::uint8_t bits) {
    return none_has_all<std::uint8_t>(row_by_row(values), bits);
  };
  // A number of 8 bits (e4m3) is NaN where all but its sign are set, a power of
  // two where all are.
  constexpr std::uint8_t kNumber = 0x7f, kPower = 0xff;
  switch (weight.quantization->mode) {
    case QuantizationMode::affine:
      return all_finite(*weight.scales) && all_finite(*weight.biases);
    case QuantizationMode::mxfp4:
      return bytes_lack(*weight.scales, kPower);
    case QuantizationMode::mxfp8:
      return bytes_lack(*weight.scales, kPower) &&
             bytes_lack(weight.data, kNumber);
    case QuantizationMode::nvfp4:
      return bytes_lack(*weight.scales, kNumber);
  }
  return false;
}

}  // namespace llamlx
