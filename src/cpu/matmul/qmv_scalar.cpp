#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

// Eight codes of any width are whole bytes.
struct Words {
  using I = std::uint64_t;
  static constexpr int kRegisters = 16;

  static constexpr int codes_of(int /*bits*/) { return 8; }
  template <int bits>
  static I load(const unsigned char* p, int /*lanes*/) {
    return load_bytes(p, bits);
  }
  static I load_bytes(const unsigned char* p, int bytes) {
    I word = 0;
    for (int i = 0; i < bytes && i < 8; ++i) word |= I{p[i]} << (8 * i);
    return word;
  }
  template <int bits, int k>
  static float centred(I word) {
    constexpr int kZero = 1 << (bits - 1);
    const auto code = static_cast<int>(word >> (k * bits) & (2 * kZero - 1));
    return static_cast<float>(code - kZero) / (2 * kZero);
  }
  static float even(I word) {
    return Simd::float_of(static_cast<std::uint32_t>(word) << 16);
  }
  static float odd(I word) {
    return Simd::float_of(static_cast<std::uint32_t>(word) & 0xffff0000);
  }
  static float kept(float a) { return a; }
  static I iota() { return 0; }
  static I advance(I lane) { return lane + 1; }
  static I shifted(I lane, int count) { return lane >> count; }
  static float pick(float groups, I /*which*/) { return groups; }
  static float load_f16(const unsigned char* p, int /*count*/) {
    return Simd::half_to_float(static_cast<std::uint16_t>(load_bytes(p, 2)));
  }
  static float load_bf16(const unsigned char* p, int /*count*/) {
    return even(load_bytes(p, 2));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_f32.inl.h"

namespace llamlx {

const MatmulKernel qmv_scalar{
    "qmv_scalar", Isa::scalar,   1,       8, kRows, supports, prepared_bytes,
    prepare,      scratch_bytes, multiply};

}  // namespace llamlx
