#include "cuda/decode/shorten.h"
#include "cuda/matmul/weight_tile.h"

namespace llamlx::cuda {
namespace {

constexpr int kExponentBias = 127;
constexpr int kBf16Infinity = 0x7f80;

/// A lane's part of a tile.
class Shortener {
 public:
  __device__ Shortener(const unsigned char* tile, int lane) : lane_(lane) {
    tile_.load<FromGlobal>(tile, lane);
  }

  /// Whether the tile can be short, by all lanes together.
  __device__ bool run(unsigned char* to) {
    const int largest = largest_magnitude();
    const int exponent =
        larger((largest >> 7) - kExponentBias, kLeastShortExponent);
    if (largest >= kBf16Infinity || exponent > kMostShortExponent) return false;
    auto& header = *reinterpret_cast<ShortHeader*>(to + kShortHeaderByte);
    const int count = put_exceptions(power(-exponent), header);
    if (count > kMostExceptions) return false;
    put_words(power(-exponent), to);
    if (lane_ == 0) {
      header.scale = power(exponent);
      header.count = count;
    }
    return true;
  }

 private:
  DenseTile<Bf16> tile_;
  int lane_;

  __device__ static float power(int exponent) {
    return __uint_as_float(static_cast<unsigned>(exponent + kExponentBias)
                           << 23);
  }
  __device__ static std::uint16_t half(std::uint32_t word, int i) {
    return static_cast<std::uint16_t>(word >> (16 * i));
  }

  /// Bits of a magnitude are in order, as numbers are.
  __device__ int largest_magnitude() const {
    int largest = 0;
    for_each_word([&](int, int, std::uint32_t word) {
      for (int i = 0; i < 2; ++i) {
        largest = larger(largest, half(word, i) & 0x7fff);
      }
    });
    for (int step = 1; step < kWarpSize; step *= 2) {
      largest = larger(largest, __shfl_xor_sync(kAllLanes, largest, step));
    }
    return largest;
  }

  struct Shortened {
    std::uint32_t bits;  ///< 0, if it is an exception
    bool is_exception;
  };
  /// A number times `by`.
  __device__ static Shortened shorten(std::uint16_t bf16, float by) {
    const float number = unpack(Bf16{}, bf16) * by;
    const auto f16 = half(pack(F16{}, number, number), 0);
    const bool is_exact =
        unpack(F16{}, f16) == number && (f16 & ~kShortBits & 0xffffU) == 0;
    return {is_exact ? f16 : 0U, !is_exact};
  }

  /// use(step, word of the operand, the word)
  template <typename Use>
  __device__ void for_each_word(const Use& use) const {
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      tile_.fragment(s, a);
      for (int i = 0; i < 4; ++i) use(s, i, a[i]);
    }
  }
  /// use(row, column, bits)
  template <typename Use>
  __device__ void for_each_exception(float by, const Use& use) const {
    for_each_word([&](int s, int word, std::uint32_t both) {
      const ShortPlace place(lane_, s, word);
      for (int i = 0; i < 2; ++i) {
        const auto number = half(both, i);
        if (!shorten(number, by).is_exception) continue;
        use(place.row, place.col + i, number);
      }
    });
  }

  /// As far as there is room; how many there are.
  __device__ int put_exceptions(float by, ShortHeader& header) const {
    int own = 0;
    for_each_exception(by, [&](int, int, std::uint16_t) { ++own; });
    int all = own;
    int next = 0;  // what lanes before have
    for (int step = 1; step < kWarpSize; step *= 2) {
      const int theirs = __shfl_xor_sync(kAllLanes, all, step);
      if ((lane_ & step) != 0) next += theirs;
      all += theirs;
    }
    for_each_exception(by, [&](int row, int col, std::uint16_t number) {
      if (next < kMostExceptions) {
        header.exceptions[next] = ShortException(row, col, number).word;
      }
      ++next;
    });
    for (int i = all + lane_; i < kMostExceptions; i += kWarpSize) {
      header.exceptions[i] = 0;
    }
    return all;
  }

  __device__ void put_words(float by, unsigned char* to) const {
    Words4 words[3];
    for (int s = 0; s < 4; ++s) {
      std::uint32_t a[4];
      tile_.fragment(s, a);
      for (auto& word : a) {
        word = shorten(half(word, 0), by).bits | shorten(half(word, 1), by).bits
                                                     << 16;
      }
      hide_fourth(a);
      for (int i = 0; i < 3; ++i) words[i].w[s] = a[i];
    }
    for (int i = 0; i < 3; ++i) {
      reinterpret_cast<Words4*>(to)[i * kWarpSize + lane_] = words[i];
    }
  }
};

}  // namespace

LLAMLX_KERNEL(shorten_bf16, ShortenArgs, 256, 1) {
  const long long thread =
      static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
  const long long tile = thread / kWarpSize;
  const int lane = static_cast<int>(thread % kWarpSize);
  if (tile >= args.tiles) return;
  Shortener shortener(args.from + tile * DenseTile<Bf16>::kBytes, lane);
  const bool is_short = shortener.run(args.to + tile * kShortTileBytes);
  if (!is_short && lane == 0) count_arrival(args.refused);
}

}  // namespace llamlx::cuda
