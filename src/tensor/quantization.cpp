#include "tensor/quantization.h"

#include <algorithm>
#include <iterator>

#include "base/concat.h"

namespace llamlx {
namespace {

struct Mode {
  std::string_view name;
  Quantization by_default;
};

constexpr Mode kModes[] = {
    {"affine", {4, 64, QuantizationMode::affine}},
    {"mxfp4", {4, 32, QuantizationMode::mxfp4}},
    {"mxfp8", {8, 32, QuantizationMode::mxfp8}},
    {"nvfp4", {4, 16, QuantizationMode::nvfp4}},
};

const Mode& facts_of(QuantizationMode mode) {
  return kModes[static_cast<std::size_t>(mode)];
}

}  // namespace

Quantization default_quantization(QuantizationMode mode) {
  return facts_of(mode).by_default;
}

bool is_supported(const Quantization& q) {
  if (!q.is_affine()) return q == default_quantization(q.mode);
  const bool bits = q.bits >= 2 && q.bits <= 8 && q.bits != 7;
  return bits &&
         (q.group_size == 32 || q.group_size == 64 || q.group_size == 128);
}

std::string what_is_supported(QuantizationMode mode) {
  const auto& [name, by_default] = facts_of(mode);
  if (by_default.is_affine()) {
    return concat(name, " takes 2, 3, 4, 5, 6 or 8 bits in groups of 32, 64 ",
                  "or 128");
  }
  return concat(name, " takes ", by_default.bits, " bits in groups of ",
                by_default.group_size);
}

std::optional<QuantizationMode> quantization_mode(std::string_view name) {
  const auto* const found = std::ranges::find(kModes, name, &Mode::name);
  if (found == std::end(kModes)) return {};
  return found->by_default.mode;
}

std::string to_string(QuantizationMode mode) {
  return std::string(facts_of(mode).name);
}

std::string to_string(const Quantization& quantization) {
  return concat(to_string(quantization.mode), " ", quantization.bits,
                "-bit, group ", quantization.group_size);
}

}  // namespace llamlx
