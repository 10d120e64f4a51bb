#pragma once

#include "cuda/intrinsics.h"
#include "cuda/matmul/packed_weight.h"

/// Tiles of packed weights as a lane of a warp holds them. Each kind has
///   layout()           the format
///   Operand            the 16-bit type of the products' operands
///   Scales             the type of scales, or of numbers
///   kGroups            scales of a row (0: none)
///   load<From>(p, lane)  a lane's part of the tile at p, in memory of kind
///   From fragment(s, a)     step s (0 to 3) of the tile, as "mma.m16n8k16"
///   wants its
///                      left operand: codes as whole numbers, or numbers
///   numbers(s, a)      the same of the weight's numbers, rounded to Operand
///   scale(j, h)        of group j, row g (h = 0) or g + 8; bias(j, h)
/// Column 2 i of a step's operand is what a lane's neighbours pair as: in step
/// s lane t multiplies columns 32 (s / 2) + 8 t + 4 (s % 2) + 0, 1, 2, 3.

namespace llamlx::cuda {

inline constexpr std::uint32_t kF16Magic = 0x64006400U;   // 1024: ulp is 1
inline constexpr std::uint32_t kBf16Magic = 0x43004300U;  // 128: ulp is 1

// Where a tile is loaded from.
struct FromGlobal {
  template <typename Words>
  static __device__ Words load(const Words* p) {
    return load_once(p);
  }
};
struct FromShared {
  template <typename Words>
  static __device__ Words load(const Words* p) {
    return *p;
  }
};

/// A constant number of planes of x.
template <int kCount>
struct PlaneCount {
  __device__ constexpr operator int() const { return kCount; }
};

/// Numbers of 16 bits.
template <typename T>
struct DenseTile {
  using Operand = T;
  using Scales = T;
  LLAMLX_HOST_DEVICE static constexpr PackedLayout layout() {
    return {number_type(T{}), 0, 0};
  }
  static constexpr int kGroups = 0;
  static constexpr int kBytes = kTileRows * kTileCols * 2;

  Words4 words[4];  // of (half, run)

  template <typename From>
  __device__ void load(const unsigned char* tile, int lane) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      words[i] = From::load(reinterpret_cast<const Words4*>(tile) +
                            i * kWarpSize + dense_piece(lane));
    }
  }
  /// Writes a lane's part of a tile, of fragments.
  static __device__ void store(unsigned char* tile, int lane,
                               const std::uint32_t (&a)[4][4]) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      Words4 words;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        words.w[j] = a[i % 2 * 2 + j / 2][i / 2 + j % 2 * 2];
      }
      reinterpret_cast<Words4*>(tile)[i * kWarpSize + dense_piece(lane)] =
          words;
    }
  }
  __device__ void fragment(int s, std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      a[i] = words[i % 2 * 2 + s / 2].w[s % 2 * 2 + i / 2];
    }
  }
  __device__ void numbers(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
  }
  __device__ void bf16_numbers(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
  }
  __device__ float scale(int, int) const { return 1; }
  __device__ float bias(int, int) const { return 0; }
};

/// Numbers of float32, which go through no matrix unit: lane 4 g + t has, of
/// row g + 8 h, columns 32 j + 8 t + 4 i ... of `words[(2 h + j) * 2 + i]`.
struct DenseTile32 {
  using Operand = F32;
  static constexpr int kGroups = 0;
  static constexpr int kBytes = kTileRows * kTileCols * 4;

  Words4 words[8];

  template <typename From>
  __device__ void load(const unsigned char* tile, int lane) {
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      words[i] = From::load(reinterpret_cast<const Words4*>(tile) +
                            i * kWarpSize + lane);
    }
  }
};

/// A lane's scales and biases: of its two rows, kCount groups.
template <typename T, int kCount>
struct TileScales {
  static constexpr bool kIsWide = number_type(T{}) == NumberType::f32;
  static constexpr int kWords = kCount * (kIsWide ? 4 : 2);

  std::uint32_t words[kWords];

  template <typename From>
  __device__ void load(const unsigned char* scales, int g) {
    if constexpr (kWords == 2) {
      const auto v = From::load(reinterpret_cast<const Words2*>(scales) + g);
      words[0] = v.w[0];
      words[1] = v.w[1];
    } else {
#pragma unroll
      for (int i = 0; i < kWords / 4; ++i) {
        const auto v = From::load(reinterpret_cast<const Words4*>(scales) +
                                  g * (kWords / 4) + i);
#pragma unroll
        for (int j = 0; j < 4; ++j) words[4 * i + j] = v.w[j];
      }
    }
  }
  /// `which`: 0 the scale, 1 the bias.
  __device__ float get(int group, int half, int which) const {
    const int at = group * 2 + half;
    if constexpr (kIsWide) {
      return __uint_as_float(words[at * 2 + which]);
    } else {
      return unpack(T{}, static_cast<std::uint16_t>(words[at] >> (16 * which)));
    }
  }
};

/// Codes of kBits bits, kGroup columns to a scale of type T.
template <int kBits, int kGroup, typename T>
struct AffineTile {
  using Operand = F16;
  using Scales = T;
  static constexpr int kGroups = kTileCols / kGroup;
  static constexpr int kLow = low_bits(kBits);
  static constexpr int kHigh = high_bits(kBits);
  LLAMLX_HOST_DEVICE static constexpr PackedLayout layout() {
    return {number_type(T{}), kBits, kGroup};
  }
  static constexpr int kBytes = tile_bytes(layout());
  static constexpr int kLowWords = kLow;  // of a lane: 2 rows of 16 codes
  static constexpr int kHighWords = kHigh;

  std::uint32_t low[kLowWords];
  std::uint32_t high[kHighWords == 0 ? 1 : kHighWords];
  TileScales<T, kGroups> scales;

  template <typename From>
  __device__ void load(const unsigned char* tile, int lane) {
    if constexpr (kLow == 2) {
      put(From::load(reinterpret_cast<const Words2*>(tile) + lane), low);
    } else {
#pragma unroll
      for (int i = 0; i < kLow / 4; ++i) {
        const auto v = From::load(reinterpret_cast<const Words4*>(tile) +
                                  i * kWarpSize + lane);
#pragma unroll
        for (int j = 0; j < 4; ++j) low[4 * i + j] = v.w[j];
      }
    }
    const auto* plane = tile + plane_bytes(kLow);
    if constexpr (kHigh == 1) {
      high[0] =
          From::load(reinterpret_cast<const std::uint32_t*>(plane) + lane);
    } else if constexpr (kHigh == 2) {
      put(From::load(reinterpret_cast<const Words2*>(plane) + lane), high);
    }
    scales.template load<From>(tile + codes_bytes(kBits), lane / 4);
  }

  /// a[0], a[2]: row g; a[1], a[3]: row g + 8.
  __device__ void fragment(int s, std::uint32_t (&a)[4]) const {
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        a[2 * i + half] = codes(half, 2 * s + i);
      }
    }
  }

  __device__ void numbers(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
    const int group = kGroups == 2 ? s / 2 : 0;
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      const auto number = [&](std::uint32_t code) {
        return fmaf(scale(group, i % 2),
                    unpack(F16{}, static_cast<std::uint16_t>(code)),
                    bias(group, i % 2));
      };
      a[i] = pack(F16{}, number(a[i]), number(a[i] >> 16));
    }
  }

  /// The same rounded to bfloat16, which scales and biases are; codes of up to
  /// 6 bits.
  __device__ void bf16_numbers(int s, std::uint32_t (&a)[4]) const {
    static_assert(number_type(T{}) == NumberType::bf16 && kBits <= 6);
    const int group = kGroups == 2 ? s / 2 : 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const auto word = scales.words[group * 2 + half];
      const auto by = permute_bytes(word, word, 0x1010);
      const auto plus = permute_bytes(word, word, 0x3232);
#pragma unroll
      for (int i = 0; i < 2; ++i) {
        constexpr std::uint32_t kOne = 0x3f803f80U;
        constexpr std::uint32_t kLess128 = 0xc300c300U;
        const auto code = fma2(Bf16{}, raw_codes(half, 2 * s + i, kBf16Magic),
                               kOne, kLess128);
        a[2 * i + half] = fma2(Bf16{}, code, by, plus);
      }
    }
  }

  /// numbers() of all steps, by all lanes together.
  __device__ void make_numbers(std::uint32_t (&a)[4][4]) const {
    if (has_f16_scales()) {
#pragma unroll
      for (int s = 0; s < 4; ++s) numbers_by_f16(s, a[s]);
    } else {
#pragma unroll
      for (int s = 0; s < 4; ++s) numbers(s, a[s]);
    }
  }

  /// Four codes of a row, as bytes: columns 4 `quad` + 0, 2, 1, 3 of the 16
  /// that a lane has of it.
  __device__ std::uint32_t code_bytes(int half, int quad) const {
    constexpr std::uint32_t kMask = ((1U << kLow) - 1U) * 0x01010101U;
    constexpr int kQuads = 8 / kLow;  // of a word
    const auto word = low[low_word(half, quad)];
    const auto low_part = (word >> (quad % kQuads * kLow)) & kMask;
    if constexpr (kHigh == 0) return low_part;
    constexpr std::uint32_t kHighMask = ((1U << kHigh) - 1U) * 0x01010101U;
    const auto high_part =
        kHigh == 1 ? high[0] >> (quad + 4 * half) : high[half] >> (2 * quad);
    return low_part | (high_part & kHighMask) << kLow;
  }

  __device__ float scale(int group, int half) const {
    return scales.get(group, half, 0);
  }
  __device__ float bias(int group, int half) const {
    return scales.get(group, half, 1);
  }

 private:
  static __device__ void put(const Words2& from, std::uint32_t* to) {
    to[0] = from.w[0];
    to[1] = from.w[1];
  }

  /// Whether float16 holds all lanes' scales and biases as they are.
  __device__ bool has_f16_scales() const {
    if constexpr (number_type(T{}) == NumberType::f16) return true;
    bool holds = true;
#pragma unroll
    for (int at = 0; at < 4 * kGroups; ++at) {
      const float x = scales.get(at / 4, at / 2 % 2, at % 2);
      const auto word = pack(F16{}, x, x);
      holds = holds && unpack(F16{}, static_cast<std::uint16_t>(word)) == x;
    }
    return !any_lane(!holds);
  }

  /// numbers(), where that is so: rounded once, two at a time.
  __device__ void numbers_by_f16(int s, std::uint32_t (&a)[4]) const {
    fragment(s, a);
    const int group = kGroups == 2 ? s / 2 : 0;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      const float by = scale(group, half);
      const float plus = bias(group, half);
      const auto both_by = pack(F16{}, by, by);
      const auto both_plus = pack(F16{}, plus, plus);
      a[half] = fma2(F16{}, a[half], both_by, both_plus);
      a[2 + half] = fma2(F16{}, a[2 + half], both_by, both_plus);
    }
  }

  /// Pair `pair` (0 to 7) of a row's codes, as two whole numbers.
  __device__ std::uint32_t codes(int half, int pair) const {
    if constexpr (kBits == 8) {
      const auto word = low[half * 4 + pair / 2];
      return sub2(
          F16{},
          permute_bytes(word, kF16Magic, pair % 2 == 0 ? 0x7270 : 0x7371),
          kF16Magic);
    } else if constexpr (kHigh == 0) {
      return low_codes(half, pair);
    } else {
      return sub2(F16{}, raw_codes(half, pair, kF16Magic), kF16Magic);
    }
  }

  /// The same as bits, of up to 6 in each half of a word that is `magic` beside
  /// them.
  __device__ std::uint32_t raw_codes(int half, int pair,
                                     std::uint32_t magic) const {
    constexpr std::uint32_t kMask = ((1U << kLow) - 1U) * 0x00010001U;
    const auto [word, shift] = low_place(half, pair);
    const auto low_part = and_or(low[word] >> shift, kMask, magic);
    if constexpr (kHigh == 0) return low_part;
    constexpr std::uint32_t kHighMask = ((1U << kHigh) - 1U) * 0x00010001U;
    const auto from = kHigh == 1 ? high[0] : high[half];
    const int at =
        8 * (pair % 2) + (kHigh == 1 ? pair / 2 + 4 * half : pair / 2 * 2);
    return low_part | ((from >> at) & kHighMask) << kLow;
  }

  struct Place {
    int word;
    int shift;
  };
  static constexpr __device__ Place low_place(int half, int pair) {
    const int at = 8 * (pair % 2);
    if (kLow == 2) return {half, at + pair / 2 * 2};
    return {low_word(half, pair / 2), at + pair % 4 / 2 * 4};
  }
  /// Which word has a quad's low bits.
  static constexpr __device__ int low_word(int half, int quad) {
    if (kLow == 2) return half;
    return kLow == 4 ? half + quad / 2 * 2 : half * 4 + quad;
  }

  /// Of two pairs in the same bytes the second is masked where it stands, as a
  /// multiple, and scaled back in the step that takes the magic off.
  __device__ std::uint32_t low_codes(int half, int pair) const {
    constexpr std::uint32_t kMask = ((1U << kLow) - 1U) * 0x00010001U;
    const auto [word, shift] = low_place(half, pair);
    if (shift % (2 * kLow) == 0) {
      const auto v = and_or(low[word] >> shift, kMask, kF16Magic);
      return sub2(F16{}, v, kF16Magic);
    }
    const auto v =
        and_or(low[word] >> (shift - kLow), kMask << kLow, kF16Magic);
    // 1024 + 2^kLow q, times 2^-kLow, less 1024 / 2^kLow.
    constexpr std::uint32_t kScale = kLow == 4 ? 0x2c002c00U : 0x34003400U;
    constexpr std::uint32_t kOffset = kLow == 4 ? 0xd400d400U : 0xdc00dc00U;
    return fma2(F16{}, v, kScale, kOffset);
  }
};

}  // namespace llamlx::cuda
