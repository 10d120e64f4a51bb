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

/// x in shared memory, as the right operand of the matrix unit: column 0 has
/// most of each element and column 1 the rest, other columns are not looked at.
/// Of affine weights these are the bytes of a number of 16 bits, of which the
/// largest of a group has all; of dense ones two numbers of 16 bits.
template <typename Tile>
struct InputSpace {
  static constexpr int kGroup = decode_group(Tile::layout());
  static constexpr int kGroups = kTileCols / kGroup;

  unsigned char* planes;
  InputGroup* groups;  // [tiles][kGroups]
  float* squares;      // of each warp's elements
  int plane_bytes;

  __device__ InputSpace(unsigned char* memory, float* its_squares, int tiles)
      : planes(memory),
        groups(reinterpret_cast<InputGroup*>(
            memory + 2 * decode_plane_bytes(Tile::layout(), tiles))),
        squares(its_squares),
        plane_bytes(decode_plane_bytes(Tile::layout(), tiles)) {}
};

/// Waits for x, and puts it there. What an rms norm divides by comes later, to
/// the products, as the sum of squares takes all of x.
///
/// A thread has eight columns at a time, which are what a lane of a tile has of
/// a run.
template <typename Tile>
class InputMaker {
 public:
  __device__ InputMaker(const ProductInput& input, const ProductShape& shape,
                        const InputSpace<Tile>& space)
      : input_(input),
        space_(space),
        cols_(shape.cols),
        octets_(shape.tiles * kTileCols / 8) {}

  /// Calls while_waiting() between looks, by all lanes of a warp together.
  template <typename Do>
  __device__ void run(const Do& while_waiting) const {
    if (input_.norm != nullptr) {
      run_rounds<true>(while_waiting);
    } else {
      run_rounds<false>(while_waiting);
    }
  }

 private:
  using Space = InputSpace<Tile>;
  struct Octet {
    std::uint32_t bits[8];  // of floats

    __device__ float at(int i) const { return __uint_as_float(bits[i]); }
  };
  static constexpr int kHeld = 2;
  static constexpr int kRoundOctets = kHeld * kDecodeThreads;
  static constexpr int kLanes = Space::kGroup / 8;  // of a group
  /// The largest number of 16 bits whose upper byte, rounded, has a sign.
  static constexpr float kMost = 127 * 256;
  static constexpr float kLeast = 0x1p-100F;
  /// Added to a number of up to 22 bits it leaves it rounded in the low ones.
  static constexpr float kWhole = 3 << 22;

  const ProductInput& input_;
  const Space& space_;
  int cols_;
  int octets_;

  /// Where an octet's quad lies: the last one instead of those that are not
  /// there, as columns are a multiple of 4.
  __device__ const Words4* words(int col, int half) const {
    const int its = smaller(col + 4 * half, cols_ - 4);
    return reinterpret_cast<const Words4*>(input_.x + its);
  }
  __device__ Octet look(int col) const {
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
  __device__ void run_rounds(const Do& while_waiting) const {
    const int thread = thread_now();
    const int lane = thread % kWarpSize;
    float squares = 0;
#pragma unroll 1
    for (int base = thread - lane; base < octets_; base += kRoundOctets) {
      if (base + kDecodeThreads < octets_) {  // for the whole warp
        run_round<kIsNormed, kHeld>(base + lane, while_waiting, squares);
      } else {
        run_round<kIsNormed, 1>(base + lane, while_waiting, squares);
      }
    }
    if constexpr (kIsNormed) {
      squares = warp_sum(squares);
      if (lane == 0) space_.squares[thread / kWarpSize] = squares;
    }
  }

  /// So many octets, in step, so that what one waits for the other uses. By all
  /// lanes of a warp together, as what follows.
  template <bool kIsNormed, int kCount, typename Do>
  __device__ void run_round(int first, const Do& while_waiting,
                            float& squares) const {
    Octet norm[kCount];
    if constexpr (kIsNormed) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) {
        norm[i] = load_norm_octet(col_of(first, i));
      }
    }
    Octet x[kCount];
    look_until_come(first, while_waiting, x);
    if constexpr (kIsNormed) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) norm_by(norm[i], x[i], squares);
    }
    if constexpr (Tile::kGroups > 0) {
      put_bytes<kCount>(first, x);
    } else {
      put_halves<kCount>(first, x);
    }
  }
  __device__ static int col_of(int first, int i) {
    return 8 * (first + i * kDecodeThreads);
  }

  /// All are asked for before any is looked at. What is not there is 0.
  template <int kCount, typename Do>
  __device__ void look_until_come(int first, const Do& while_waiting,
                                  Octet (&x)[kCount]) const {
    while (true) {
#pragma unroll
      for (int i = 0; i < kCount; ++i) x[i] = look(col_of(first, i));
      bool has_all = true;
#pragma unroll
      for (int i = 0; i < kCount; ++i) has_all = has_all && has_come(x[i]);
      if (!any_lane(!has_all)) break;
      while_waiting();
      look_again();
    }
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      for (int j = 0; j < 8; ++j) {
        if (col_of(first, i) + j / 4 * 4 >= cols_) x[i].bits[j] = 0;
      }
    }
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
           of_tile / 4 * 8;
  }

  template <int kCount>
  __device__ void put_bytes(int first, const Octet (&x)[kCount]) const {
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
      std::uint32_t sum = 0;
      for (int j = 0; j < 8; ++j) {
        n[j] = __float_as_uint(fmaf(x[i].at(j), by, kWhole));
        sum += n[j];
      }
      sums[i] = static_cast<int>(sum - 8 * __float_as_uint(kWhole));
      put_numbers(first + i * kDecodeThreads, n);
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
      put_group(first + i * kDecodeThreads,
                {scales[i], scales[i] * static_cast<float>(sums[i])});
    }
  }
  __device__ void put_numbers(int octet, std::uint32_t (&n)[8]) const {
    const Words2 low = {{join_bytes<0x40>(n), join_bytes<0x40>(n + 4)}};
    for (auto& number : n) number += 128;
    const Words2 high = {{join_bytes<0x51>(n), join_bytes<0x51>(n + 4)}};
    auto* to = place(octet);
    *reinterpret_cast<Words2*>(to) = high;
    *reinterpret_cast<Words2*>(to + space_.plane_bytes) = low;
  }
  /// Byte kSelector % 16 of columns 0, 2, 1 and 3, as a weight's codes lie.
  template <unsigned kSelector>
  __device__ static std::uint32_t join_bytes(const std::uint32_t* n) {
    return permute_bytes(permute_bytes(n[0], n[2], kSelector),
                         permute_bytes(n[1], n[3], kSelector), 0x5410);
  }

  template <int kCount>
  __device__ void put_halves(int first, const Octet (&x)[kCount]) const {
    using Operand = typename Tile::Operand;
    // bfloat16 holds what float32 does.
    constexpr bool kIsScaled = number_type(Operand{}) == NumberType::f16;
    float largest[kCount];
    if constexpr (kIsScaled) find_group_max<kCount>(x, largest);
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      float by = 1;
      if constexpr (kIsScaled) by = range_scale(largest[i]);
      const int octet = first + i * kDecodeThreads;
      put_group(octet, {inverse_range(by), 0});
      float v[8];
      for (int j = 0; j < 8; ++j) v[j] = x[i].at(j) * by;
      for (int plane = 0; plane < 2; ++plane) {
        Words4 words;
        for (int j = 0; j < 4; ++j) {
          words.w[j] = split2<Operand>(v[2 * j], v[2 * j + 1]);
        }
        *reinterpret_cast<Words4*>(place(octet) + plane * space_.plane_bytes) =
            words;
      }
    }
  }
};

}  // namespace llamlx::cuda
