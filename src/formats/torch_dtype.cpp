#include "formats/torch_dtype.h"

#include <algorithm>
#include <array>

namespace llamlx {
namespace {

namespace mx = mlx::core;

// Those without a storage of their own came after torch 1.13 and lie in
// UntypedStorage.
constexpr std::array<TorchDtype, 29> kDtypes = {{
    {"float32", "FloatStorage", 4, mx::float32},
    {"float16", "HalfStorage", 2, mx::float16},
    {"bfloat16", "BFloat16Storage", 2, mx::bfloat16},
    {"float64", "DoubleStorage", 8, mx::float64},
    {"bool", "BoolStorage", 1, mx::bool_},
    {"uint8", "ByteStorage", 1, mx::uint8},
    {"int8", "CharStorage", 1, mx::int8},
    {"int16", "ShortStorage", 2, mx::int16},
    {"int32", "IntStorage", 4, mx::int32},
    {"int64", "LongStorage", 8, mx::int64},
    {"uint16", "", 2, mx::uint16},
    {"uint32", "", 4, mx::uint32},
    {"uint64", "", 8, mx::uint64},
    {"complex64", "ComplexFloatStorage", 8, mx::complex64},
    {"complex128", "ComplexDoubleStorage", 16, {}},
    {"complex32", "", 4, {}},
    {"bcomplex32", "", 4, {}},
    {"float8_e4m3fn", "", 1, {}},
    {"float8_e4m3fnuz", "", 1, {}},
    {"float8_e5m2", "", 1, {}},
    {"float8_e5m2fnuz", "", 1, {}},
    {"float8_e8m0fnu", "", 1, {}},
    {"float4_e2m1fn_x2", "", 1, {}},
    {"bits8", "", 1, {}},
    {"bits16", "", 2, {}},
    {"bits1x8", "", 1, {}},
    {"bits2x4", "", 1, {}},
    {"bits4x2", "", 1, {}},
    {"uint8", "UntypedStorage", 1, mx::uint8},
}};

const TorchDtype* find(std::string_view TorchDtype::*field,
                       std::string_view wanted) {
  const auto* found = std::ranges::find(kDtypes, wanted, field);
  return found != kDtypes.end() ? found : nullptr;
}

}  // namespace

std::span<const TorchDtype> torch_dtypes() { return kDtypes; }

const TorchDtype* find_torch_dtype(std::string_view name) {
  return find(&TorchDtype::name, name);
}

const TorchDtype* find_torch_storage(std::string_view storage) {
  return storage.empty() ? nullptr : find(&TorchDtype::storage, storage);
}

}  // namespace llamlx
