#pragma once

#include "cuda/decode/decode.h"
#include "cuda/decode/exchange.h"
#include "cuda/matmul/row_loads.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {

/// What a product is of.
struct ProductInput {
  const float* x;  ///< [cols]
  Mark mark;
  const float* norm;  ///< [cols], or null
};

/// A group of x: what its numbers are multiples of, and what they sum up to.
struct alignas(8) InputGroup {
  float scale;
  float sum;
};

/// Whether a byte that holds two codes is multiplied as it is. It is l + 16 h,
/// of which only l has to be masked out: l x + h y = l (x - y / 16) + (l + 16
/// h) y / 16. So x - y / 16 stands in place of x, and sums of l come 16 times.
constexpr bool decode_has_pairs(const PackedLayout& layout) {
  return layout.is_affine() && layout.bits == 4 && layout.group == kTileCols;
}

/// A chunk of x in shared memory, as the right operand of the matrix unit:
/// column 0 has most of each element and column 1 the rest, other columns are
/// not looked at. Of affine weights these are the bytes of a number of 16 bits,
/// of which the largest of a group has all; of dense ones two numbers of 16
/// bits.
template <typename Tile>
struct InputSpace {
  static constexpr int kGroup = decode_group(Tile::layout());
  static constexpr int kGroups = kTileCols / kGroup;
  static constexpr bool kHasPairs = decode_has_pairs(Tile::layout());
  static constexpr int kPlaneBytes = decode_plane_bytes(Tile::layout());

  unsigned char* planes;
  InputGroup* groups;  // [kDecodeChunkTiles][kGroups]

  __device__ explicit InputSpace(unsigned char* memory)
      : planes(memory),
        groups(reinterpret_cast<InputGroup*>(memory + 2 * kPlaneBytes)) {}
};

/// Waits for a warp's chunks of x, and puts them there one after another. What
/// an rms norm divides by comes later, to the products, as the sum of squares
/// takes all of x.
///
/// A lane has eight columns at a time, which are what a lane of a tile has of a
/// run. All lanes of a warp call its functions together.
template <typename Tile>
class InputMaker {
 public:
  __device__ InputMaker(const ProductInput& input, int cols,
                        const InputSpace<Tile>& space, unsigned lane)
      : input_(input),
        space_(space),
        cols_(cols),
        lane_(static_cast<int>(lane)) {}

  /// Looks for a chunk of so many tiles, of which `tile` is the first.
  __device__ void ask(int tile, int tiles) {
    first_ = tile * kTileCols;
    octets_ = tiles * (kTileCols / 8);
    if (octets_ > kWarpSize) {
      ask_octets<kHeld>();
    } else {
      ask_octets<1>();
    }
  }
  /// Puts it there when it has come. Calls while_waiting() between looks.
  template <typename Do>
  __device__ void put(const Do& while_waiting) {
    if (input_.norm != nullptr) {
      put_chunk<true>(while_waiting);
    } else {
      put_chunk<false>(while_waiting);
    }
  }
  /// Of all that it has put there, and normed, since it was made.
  __device__ float sum_of_squares() const { return squares_; }

 private:
  using Space = InputSpace<Tile>;
  struct Octet {
    std::uint32_t bits[8];  // of floats

    __device__ float at(int i) const { return __uint_as_float(bits[i]); }
  };
  static constexpr int kMostOctets = kDecodeChunkTiles * kTileCols / 8;
  static constexpr int kHeld = kMostOctets / kWarpSize;
  static constexpr int kLanes = Space::kGroup / 8;  // of a group
  /// The largest number of 16 bits whose upper byte, rounded, has a sign.
  static constexpr float kMost = 127 * 256;
  static constexpr float kLeast = 0x1p-100F;
  /// Added to a number of up to 22 bits it leaves it rounded in the low ones.
  static constexpr float kWhole = 3 << 22;

  ProductInput input_;
  Space space_;
  int cols_;
  int lane_;
  int first_ = 0;   // column of the chunk
  int octets_ = 0;  // of it
  float squares_ = 0;
  Octet x_[kHeld];  // as it was when last looked for
  Octet norm_[kHeld];

  /// Where an octet's quad lies: the last one instead of those that are not
  /// there, as columns are a multiple of 4.
  __device__ const Words4* words(int col, int half) const {
    const int its = smaller(col + 4 * half, cols_ - 4);
    return reinterpret_cast<const Words4*>(input_.x + its);
  }
  __device__ Octet look_at(int col) const {
    Octet result;
    for (int half = 0; half < 2; ++half) {
      const auto quad = load_shared_word(words(col, half));
      for (int i = 0; i < 4; ++i) result.bits[4 * half + i] = quad.w[i];
    }
    return result;
  }
  __device__ bool has_come(const Octet& seen) const {
    bool result = true;
    for (const auto bits : seen.bits) {
      result = result && has_mark(bits, input_.mark);
    }
    return result;
  }

  template <bool kIsNormed, typename Do>
  __device__ void put_chunk(const Do& while_waiting) {
    if (octets_ > kWarpSize) {
      put_octets<kIsNormed, kHeld>(while_waiting);
    } else {
      put_octets<kIsNormed, 1>(while_waiting);
    }
  }

  /// So many octets a lane, in step, so that what one waits for the other uses.
  template <bool kIsNormed, int kCount, typename Do>
  __device__ void put_octets(const Do& while_waiting) {
    while (any_lane(!have_come<kCount>())) {
      while_waiting();
      look_again();
      look<kCount>();
    }
    Octet x[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) x[i] = what_is_there(i);
    if constexpr (kIsNormed) {
      float squares = 0;
#pragma unroll
      for (int i = 0; i < kCount; ++i) norm_by(norm_[i], x[i], squares);
      squares_ += warp_sum(squares);
    }
    if constexpr (Tile::kGroups > 0) {
      put_bytes<kCount>(x);
    } else {
      put_halves<kCount>(x);
    }
  }
  /// A lane's octet of the chunk.
  __device__ int octet(int i) const { return lane_ + i * kWarpSize; }
  /// Its column: of the last octet instead of those that are not there.
  __device__ int col_of(int i) const {
    return first_ + 8 * smaller(octet(i), octets_ - 1);
  }

  /// What is there already before what may come later.
  template <int kCount>
  __device__ void ask_octets() {
    if (input_.norm != nullptr) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) norm_[i] = load_norm_octet(col_of(i));
    }
    look<kCount>();
  }
  /// All are asked for before any is looked at.
  template <int kCount>
  __device__ void look() {
#pragma unroll
    for (int i = 0; i < kHeld; ++i) {
      x_[i] = i < kCount ? look_at(col_of(i)) : Octet{};
    }
  }
  template <int kCount>
  __device__ bool have_come() const {
    bool result = true;
#pragma unroll
    for (int i = 0; i < kCount; ++i) result = result && has_come(x_[i]);
    return result;
  }
  /// An octet of which what is not there is 0.
  __device__ Octet what_is_there(int i) const {
    Octet x = x_[i];
    const int end = octet(i) < octets_ ? cols_ - col_of(i) : 0;
    for (int j = 0; j < 8; ++j) {
      if (j / 4 * 4 >= end) x.bits[j] = 0;
    }
    return x;
  }

  __device__ Octet load_norm_octet(int col) const {
    Octet result;
    for (int half = 0; half < 2; ++half) {
      const auto w = *reinterpret_cast<const Floats4*>(
          input_.norm + smaller(col + 4 * half, cols_ - 4));
      for (int i = 0; i < 4; ++i) {
        result.bits[4 * half + i] = __float_as_uint(w.f[i]);
      }
    }
    return result;
  }
  __device__ static void norm_by(const Octet& norm, Octet& x, float& squares) {
    for (int i = 0; i < 8; ++i) {
      squares = fmaf(x.at(i), x.at(i), squares);
      x.bits[i] = __float_as_uint(x.at(i) * norm.at(i));
    }
  }

  template <int kCount>
  __device__ static void find_group_max(const Octet (&x)[kCount],
                                        float (&largest)[kCount]) {
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float of_pairs[4];
      for (int j = 0; j < 4; ++j) {
        of_pairs[j] = max_or_nan(fabsf(x[i].at(j)), fabsf(x[i].at(j + 4)));
      }
      largest[i] = max_or_nan(max_or_nan(of_pairs[0], of_pairs[1]),
                              max_or_nan(of_pairs[2], of_pairs[3]));
    }
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        largest[i] = max_or_nan(largest[i],
                                __shfl_xor_sync(kAllLanes, largest[i], step));
      }
    }
  }
  __device__ void put_group(int octet, const InputGroup& group) const {
    if (octet % kLanes == 0) space_.groups[octet / kLanes] = group;
  }
  /// Where a lane reads its eight columns, of elements of so many bytes: those
  /// of both runs of a tile together, if they are bytes.
  __device__ unsigned char* place(int octet) const {
    const int of_tile = octet % 8;
    if constexpr (Tile::kGroups == 0) return space_.planes + octet * 16;
    return space_.planes + octet / 8 * kTileCols + of_tile % 4 * 16 +
           of_tile / 4 * (Space::kHasPairs ? 4 : 8);
  }

  /// The first four columns lie in the lower codes of bytes, the others in the
  /// upper ones.
  __device__ static void pair(Octet& x) {
    for (int j = 0; j < 4; ++j) {
      x.bits[j] = __float_as_uint(fmaf(x.at(j + 4), -1.0F / 16, x.at(j)));
    }
  }

  template <int kCount>
  __device__ void put_bytes(Octet (&x)[kCount]) const {
    if constexpr (Space::kHasPairs) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) pair(x[i]);
    }
    float largest[kCount];
    find_group_max<kCount>(x, largest);
    float scales[kCount];
    int sums[kCount];
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      // Smaller groups are as good as zeros. Of numbers that are not finite the
      // scale is not, and so are all products.
      scales[i] = largest[i] * (1 / kMost);
      const float by = largest[i] > kLeast ? __fdividef(1, scales[i]) : 0;
      std::uint32_t n[8];  // in their low 16 bits
      for (int j = 0; j < 8; ++j) {
        n[j] = __float_as_uint(fmaf(x[i].at(j), by, kWhole));
      }
      sums[i] = sum_of_octet(n);
      put_numbers(octet(i), n);
    }
#pragma unroll
    for (int step = 1; step < kLanes; step *= 2) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        sums[i] += __shfl_xor_sync(kAllLanes, sums[i], step);
      }
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const float scale =
          Space::kHasPairs ? scales[i] * (1.0F / 16) : scales[i];
      put_group(octet(i), {scale, scale * static_cast<float>(sums[i])});
    }
  }
  /// What x sums up to, in numbers of the group's scale.
  __device__ static int sum_of_octet(const std::uint32_t (&n)[8]) {
    const auto low = n[0] + n[1] + n[2] + n[3] - 4 * __float_as_uint(kWhole);
    const auto high = n[4] + n[5] + n[6] + n[7] - 4 * __float_as_uint(kWhole);
    return static_cast<int>(Space::kHasPairs ? 16 * low + 17 * high
                                             : low + high);
  }
  __device__ void put_numbers(int octet, std::uint32_t (&n)[8]) const {
    const Words2 low = {{join_bytes<0x40>(n), join_bytes<0x40>(n + 4)}};
    for (auto& number : n) number += 128;
    const Words2 high = {{join_bytes<0x51>(n), join_bytes<0x51>(n + 4)}};
    put_quads(place(octet), high);
    put_quads(place(octet) + Space::kPlaneBytes, low);
  }
  __device__ static void put_quads(unsigned char* to, const Words2& quads) {
    if constexpr (Space::kHasPairs) {
      reinterpret_cast<std::uint32_t*>(to)[0] = quads.w[0];
      reinterpret_cast<std::uint32_t*>(to)[2] = quads.w[1];
    } else {
      *reinterpret_cast<Words2*>(to) = quads;
    }
  }
  /// Byte kSelector % 16 of columns 0, 2, 1 and 3, as a weight's codes lie.
  template <unsigned kSelector>
  __device__ static std::uint32_t join_bytes(const std::uint32_t* n) {
    return permute_bytes(permute_bytes(n[0], n[2], kSelector),
                         permute_bytes(n[1], n[3], kSelector), 0x5410);
  }

  template <int kCount>
  __device__ void put_halves(const Octet (&x)[kCount]) const {
    using Operand = typename Tile::Operand;
    // bfloat16 holds what float32 does.
    constexpr bool kIsScaled = number_type(Operand{}) == NumberType::f16;
    float largest[kCount];
    if constexpr (kIsScaled) find_group_max<kCount>(x, largest);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float by = 1;
      if constexpr (kIsScaled) by = range_scale(largest[i]);
      put_group(octet(i), {inverse_range(by), 0});
      float v[8];
      for (int j = 0; j < 8; ++j) v[j] = x[i].at(j) * by;
      for (int plane = 0; plane < 2; ++plane) {
        Words4 words;
        for (int j = 0; j < 4; ++j) {
          words.w[j] = split2<Operand>(v[2 * j], v[2 * j + 1]);
        }
        *reinterpret_cast<Words4*>(place(octet(i)) +
                                   plane * Space::kPlaneBytes) = words;
      }
    }
  }
};

}  // namespace llamlx::cuda
