// Products of 2 x 4 by 4 x 2 bfloat16: sixteen an instruction, four times
// float32's. An operand is rounded to nearest.
//
// Of its four products the instruction adds two, and then the other two, to a
// sum: each pair's sum, and each addition, is rounded to odd, by less than
// 2^-23 of itself where float32's are by 2^-24 at most, but there are half as
// many. Over K terms that is (K + 2) 2^-24 of their magnitudes, what any order
// of float32's sums may lose. What is below float32's normal numbers becomes 0.

#include <climits>

#include "cpu/matmul/kernel_list.h"
#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

constexpr int kBlockWords = 256;
// 16 sums of 2 x 2; 8 loads for 16 products.
constexpr int kTileRows = 8;
constexpr int kTileVectors = 2;

struct Product {
  static constexpr int kValues = 2;
  static constexpr int kPlanes = 1;
  static constexpr int kPlaneWords = 0;
  using F = Simd::F;

  // 8 neighbours of a row as they are multiplied.
  template <int plane>
  static F load_f32(const float* p) {
    return rounded(Simd::load(p), Simd::load(p + 4));
  }
  template <int plane>
  static F load_f16(const std::uint16_t* p) {
    return rounded(Simd::load_f16(p), Simd::load_f16(p + 4));
  }
  template <int plane>
  static F load_bf16(const std::uint16_t* p) {
    return Simd::load_words(p);
  }

  // The values of two neighbouring columns of 4 rows, a pair a row.
  static void store_pair(float* panel, int, F first, F second) {
    const uint16x8_t both = vreinterpretq_u16_f32(rounded(first, second));
    const uint16x8_t seconds = vextq_u16(both, both, 4);
    Simd::store(panel, vreinterpretq_f32_u16(vzip1q_u16(both, seconds)));
  }

 private:
  static F rounded(F low, F high) {
    return vreinterpretq_f32_bf16(
        vcvtq_high_bf16_f32(vcvtq_low_bf16_f32(low), high));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_pack.inl.h"

namespace llamlx {
namespace {

struct Steps {
  static constexpr int kWords = 2;
  using F = Simd::F;

  template <int count>
  static void store(float* to, const float* from) {
    static_assert(count == kLanes);
    store_joined(to, Simd::load(from), Simd::load(from + kLanes));
  }

  static void join(float* panel, int count, int words) {
    constexpr int kWidth = kTileVectors * kLanes;
    // Rows of the panel that no column fills.
    for (int k = (count + kValues - 1) / kValues; k < words; ++k) {
      std::memset(panel + Index(k) * kWidth, 0, kWidth * sizeof(float));
    }
    for (int k = 0; k < words; k += kWords) {
      F first[kTileVectors];
      F second[kTileVectors];
      for (int j = 0; j < kTileVectors; ++j) {
        first[j] = Simd::load(panel + Index(j) * kLanes);
        second[j] = Simd::load(panel + kWidth + Index(j) * kLanes);
      }
      for (int j = 0; j < kTileVectors; ++j) {
        store_joined(panel + Index(j) * kWords * kLanes, first[j], second[j]);
      }
      panel += Index(kWords) * kWidth;
    }
  }

  // A row of x that stands alone is multiplied beside what its panel has next:
  // prepared rows are whole vectors of them.
  template <int tile_rows>
  [[gnu::always_inline]] static void sum(const float* x, const float* w,
                                         int words,
                                         F (&sums)[tile_rows][kTileVectors]) {
    constexpr int kPairs = (tile_rows + 1) / 2;
    constexpr int kColumns = 2 * kTileVectors;
    F squares[kPairs][kColumns];
    for (int i = 0; i < kPairs; ++i) {
      for (int j = 0; j < kColumns; ++j) squares[i][j] = Simd::zero();
    }
    for (int k = 0; k < words; k += kWords) {
      F columns[kColumns];
      for (int j = 0; j < kColumns; ++j) {
        columns[j] = Simd::load(w + Index(j) * kLanes);
      }
      for (int i = 0; i < kPairs; ++i) {
        const F rows = Simd::load(x + Index(i) * kLanes);
        for (int j = 0; j < kColumns; ++j) {
          squares[i][j] =
              vbfmmlaq_f32(squares[i][j], vreinterpretq_bf16_f32(rows),
                           vreinterpretq_bf16_f32(columns[j]));
        }
      }
      x += Index(kWords) * kTileRows;
      w += Index(kWords) * kTileVectors * kLanes;
    }
    for (int i = 0; i < tile_rows; ++i) {
      for (int j = 0; j < kTileVectors; ++j) {
        const F left = squares[i / 2][2 * j];
        const F right = squares[i / 2][2 * j + 1];
        sums[i][j] =
            i % 2 == 0
                ? vcombine_f32(vget_low_f32(left), vget_low_f32(right))
                : vcombine_f32(vget_high_f32(left), vget_high_f32(right));
      }
    }
  }

 private:
  // Two words of each row, one row after another.
  static void store_joined(float* to, F first, F second) {
    Simd::store(to, vzip1q_f32(first, second));
    Simd::store(to + kLanes, vzip2q_f32(first, second));
  }
};

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_tiles.inl.h"

namespace llamlx {
namespace {

bool supports(const WeightFormat& format, int cols, ValueType compute) {
  return compute == ValueType::bf16 && supports_format(format, cols);
}

}  // namespace

const MatmulKernel qmm_neon_bf16{"qmm_neon_bf16", Isa::neon_bf16, 1,
                                 INT_MAX,         kRowStep,       supports,
                                 prepared_bytes,  prepare_rows,   scratch_bytes,
                                 multiply_rows};

}  // namespace llamlx
