#pragma once

// How a ValueType is read and written by struct Simd, which the file that
// includes this one has included before. See src/cpu/README.md.

#include <cstdint>

namespace llamlx {
namespace {

struct InF32 {
  using Value = float;
  static Simd::F load(const Value* p) { return Simd::load(p); }
  static void store(Value* p, Simd::F a) { Simd::store(p, a); }
};
struct InF16 {
  using Value = std::uint16_t;
  static Simd::F load(const Value* p) { return Simd::load_f16(p); }
  static void store(Value* p, Simd::F a) { Simd::store_f16(p, a); }
};
struct InBf16 {
  using Value = std::uint16_t;
  static Simd::F load(const Value* p) { return Simd::load_bf16(p); }
  static void store(Value* p, Simd::F a) { Simd::store_bf16(p, a); }
};

}  // namespace
}  // namespace llamlx
