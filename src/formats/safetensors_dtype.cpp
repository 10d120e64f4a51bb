#include "formats/safetensors_dtype.h"

#include <algorithm>
#include <array>
#include <stdexcept>

namespace llamlx {
namespace {

namespace mx = mlx::core;

constexpr std::array<SafetensorsDtype, 22> kDtypes = {{
    {"BOOL", 8, mx::bool_},     {"F4", 4, {}},
    {"F6_E2M3", 6, {}},         {"F6_E3M2", 6, {}},
    {"U8", 8, mx::uint8},       {"I8", 8, mx::int8},
    {"F8_E5M2", 8, {}},         {"F8_E4M3", 8, {}},
    {"F8_E8M0", 8, {}},         {"F8_E4M3FNUZ", 8, {}},
    {"F8_E5M2FNUZ", 8, {}},     {"I16", 16, mx::int16},
    {"U16", 16, mx::uint16},    {"F16", 16, mx::float16},
    {"BF16", 16, mx::bfloat16}, {"I32", 32, mx::int32},
    {"U32", 32, mx::uint32},    {"F32", 32, mx::float32},
    {"C64", 64, mx::complex64}, {"F64", 64, {}},
    {"I64", 64, mx::int64},     {"U64", 64, mx::uint64},
}};

}  // namespace

const SafetensorsDtype* find_safetensors_dtype(std::string_view name) {
  const auto* found = std::ranges::find(kDtypes, name, &SafetensorsDtype::name);
  return found != kDtypes.end() ? found : nullptr;
}

std::string_view safetensors_name(mx::Dtype dtype) {
  for (const auto& known : kDtypes) {
    if (known.dtype && known.dtype->val() == dtype.val()) return known.name;
  }
  throw std::invalid_argument(
      "[safetensors_name] expected a type other than float64");
}

}  // namespace llamlx
