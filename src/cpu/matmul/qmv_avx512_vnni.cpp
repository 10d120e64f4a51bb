// Few rows of x times a quantised weight read in place, in integers: codes are
// unpacked to bytes, x is two planes of signed bytes (qmv_planes.inl.h).
// Products of bytes and their sums are exact; float32 begins at the sum of a
// lane.
//
// Of 64 P codes, a "chunk", byte i of plane p is code P i + p: P is what shifts
// alone yield (4-bit codes: the even, the odd ones), and 1 for widths that
// straddle bytes, which a permutation and a multishift put into order. Lane j
// holds 4 P neighbours: never of two groups.
//
// Sums of w x = s q x + b x per group: b meets the group's sum of x, of x as it
// was rounded, so that the rounding is that of x alone.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include <immintrin.h>

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_planes.inl.h"

namespace llamlx {
namespace {

constexpr int kLanes = 16;
constexpr int kMostRows = 8;  // of x, that it is good for
constexpr int kPlaneBytes = 64;

// Rows of the weight, and of x (a "slab"), multiplied together: the sums of so
// many have registers.
constexpr int kSlabRows = 4;
constexpr int kRows = 4;
constexpr int planes_of(int bits) { return bits == 2 ? 4 : bits == 4 ? 2 : 1; }
/// How one row of x lies when prepared: for every 16 groups their scales and
/// sums, then for every chunk P high and P low planes. Rows of a slab take
/// turns, by block and by chunk.
struct Layout {
  int blocks;
  int planes;
  int chunks;

  static constexpr int kBlockBytes = 2 * kLanes * 4;
  int chunk_bytes() const { return 2 * planes * kPlaneBytes; }
  std::ptrdiff_t blocks_bytes() const {
    return std::ptrdiff_t{blocks} * kBlockBytes;
  }
  std::ptrdiff_t row_bytes() const {
    return blocks_bytes() + std::ptrdiff_t{chunks} * chunk_bytes();
  }
};

Layout layout_of(const WeightFormat& format, int cols) {
  const int planes = planes_of(format.bits);
  return {ceil_div(cols / format.group_size, kLanes), planes,
          ceil_div(cols, planes * kPlaneBytes)};
}

__mmask16 lanes_below(int count) {
  return static_cast<__mmask16>(count >= kLanes ? 0xffff : (1u << count) - 1);
}

__m512 load_values(const Byte* p, ValueType type, int count) {
  const __mmask16 lanes = lanes_below(count);
  if (type == ValueType::f32) return _mm512_maskz_loadu_ps(lanes, p);
  const __m256i halves = _mm256_maskz_loadu_epi16(lanes, p);
  if (type == ValueType::f16) return _mm512_cvtph_ps(halves);
  return _mm512_castsi512_ps(
      _mm512_slli_epi32(_mm512_cvtepu16_epi32(halves), 16));
}

// The first `bytes` bytes at p, the rest 0. As many as a vector has are loaded
// without a mask, which would cost as much again.
[[gnu::always_inline]] inline __m512i load_bytes(const Byte* p, int bytes) {
  if (bytes == 64) return _mm512_loadu_si512(p);
  return _mm512_maskz_loadu_epi8((__mmask64{1} << bytes) - 1, p);
}

// Codes as bytes, plane by plane.
template <int bits>
[[gnu::always_inline]] inline void unpack(__m512i packed,
                                          __m512i (&plane)[planes_of(bits)]) {
  if constexpr (bits == 8) {
    plane[0] = packed;
  } else if constexpr (bits == 4) {
    const __m512i mask = _mm512_set1_epi8(15);
    plane[0] = _mm512_and_si512(packed, mask);
    plane[1] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
  } else if constexpr (bits == 2) {
    const __m512i mask = _mm512_set1_epi8(3);
    plane[0] = _mm512_and_si512(packed, mask);
    plane[1] = _mm512_and_si512(_mm512_srli_epi16(packed, 2), mask);
    plane[2] = _mm512_and_si512(_mm512_srli_epi16(packed, 4), mask);
    plane[3] = _mm512_and_si512(_mm512_srli_epi16(packed, 6), mask);
  } else {
    // Eight codes are `bits` bytes: give them eight bytes, then each code its
    // own.
    alignas(64) static constexpr auto kFrom = [] {
      struct {
        std::uint8_t byte[64];
      } from{};
      for (int i = 0; i < 64; ++i) {
        from.byte[i] = static_cast<std::uint8_t>((i / 8 * bits + i % 8) % 64);
      }
      return from;
    }();
    constexpr auto kShift = [](int i) {
      return static_cast<long long>(static_cast<unsigned long long>(i * bits)
                                    << (8 * i));
    };
    constexpr long long kShifts = kShift(0) | kShift(1) | kShift(2) |
                                  kShift(3) | kShift(4) | kShift(5) |
                                  kShift(6) | kShift(7);
    const __m512i eights =
        _mm512_permutexvar_epi8(_mm512_load_si512(&kFrom), packed);
    plane[0] = _mm512_and_si512(
        _mm512_multishift_epi64_epi8(_mm512_set1_epi64(kShifts), eights),
        _mm512_set1_epi8((1 << bits) - 1));
  }
}

// The sums of a, b, c, d, each in the same order.
__m128 sums_of(__m512 a, __m512 b, __m512 c, __m512 d) {
  const __m512 ab =
      _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
  const __m512 cd =
      _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
  const __m512 quarters = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, 0x44),
                                        _mm512_shuffle_ps(ab, cd, 0xee));
  const __m256 halves = _mm256_add_ps(_mm512_castps512_ps256(quarters),
                                      _mm512_extractf32x8_ps(quarters, 1));
  return _mm_add_ps(_mm256_castps256_ps128(halves),
                    _mm256_extractf128_ps(halves, 1));
}

// y[m * y_stride + r] is the sum of total[m * rows + r], for r below `valid`.
// Inlined, or else the sums would have an address, and lie in memory.
template <int rows, int x_rows>
[[gnu::always_inline]] inline void store_sums(
    const __m512 (&total)[rows * x_rows], int valid, float* y, int y_stride) {
  constexpr int kCount = rows * x_rows;
  static_assert(kCount % 2 == 0 && kCount >= 4);
  alignas(16) float sums[(kCount + 3) / 4 * 4];
  for_each_number<(kCount + 3) / 4>([&](
      auto four) __attribute__((always_inline)) {
    constexpr int kFirst = four.kValue * 4;
    constexpr int kThird = kFirst + 2 < kCount ? kFirst + 2 : kFirst;
    _mm_store_ps(sums + kFirst, sums_of(total[kFirst], total[kFirst + 1],
                                        total[kThird], total[kThird + 1]));
  });
  for (int m = 0; m < x_rows; ++m) {
    for (int r = 0; r < rows && r < valid; ++r) {
      y[std::ptrdiff_t{m} * y_stride + r] = sums[m * rows + r];
    }
  }
}

// Keeps a vector in a register. As operands in memory it would be loaded for
// every row, and so many loads keep the lines that prefetches ask for waiting.
[[gnu::always_inline]] inline __m512i kept(__m512i vector) {
  __asm__("" : "+v"(vector));
  return vector;
}

template <int bits, int x_rows>
void multiply_rows(const WeightView& w, const Byte* x, int begin, int end,
                   const WeightRun& run, float* y, int y_stride) {
  constexpr int kPlanes = planes_of(bits);
  constexpr int kChunkBytes = kPlanes * 8 * bits;
  constexpr std::ptrdiff_t kStepBytes = std::ptrdiff_t{kRows} * kChunkBytes;
  const ValueType type = w.format.values;
  const Layout layout = layout_of(w.format, w.cols);
  const int row_bytes = w.cols / 8 * bits;
  const int groups = w.cols / w.format.group_size;
  const std::ptrdiff_t scale_bytes = std::ptrdiff_t{groups} * bytes_of(type);
  const int lanes_of_group = w.format.group_size / (4 * kPlanes);
  const __m128i lanes_shift = _mm_cvtsi32_si128(log2_of(lanes_of_group));
  const RowsAhead later = rows_ahead(row_bytes, kRows);
  const __m512i first_lanes =
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15);

  for (int n = begin; n < end; n += kRows) {
    const Byte* row[kRows];
    const Byte* scales[kRows];
    const Byte* biases[kRows];
    find_rows(w.data, row_bytes, n, end, row);
    find_rows(w.scales, scale_bytes, n, end, scales);
    find_rows(w.biases, scale_bytes, n, end, biases);
    const auto [next_row, next_scales, next_biases] = run.next;
    const auto ahead =
        ahead_of<kRows>(row[0], row_bytes, n, later, run.end, next_row);
    std::ptrdiff_t asked = 0;
    ask(ahead_of<kRows>(scales[0], scale_bytes, n, later, run.end, next_scales),
        0, kRows * scale_bytes);
    ask(ahead_of<kRows>(biases[0], scale_bytes, n, later, run.end, next_biases),
        0, kRows * scale_bytes);
    __m512 total[x_rows * kRows];
    for_each_number<x_rows * kRows>([&](auto i) __attribute__((always_inline)) {
      total[i.kValue] = _mm512_setzero_ps();
    });
    const Byte* block = x;
    const Byte* planes = x + x_rows * layout.blocks_bytes();
    int at = 0;
    for (int group = 0; group < groups; group += kLanes) {
      const __m512* x_scales = reinterpret_cast<const __m512*>(block);
      __m512 scale[kRows];
      for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
        const std::ptrdiff_t from = std::ptrdiff_t{group} * bytes_of(type);
        scale[r.kValue] =
            load_values(scales[r.kValue] + from, type, groups - group);
        const __m512 bias =
            load_values(biases[r.kValue] + from, type, groups - group);
        for_each_number<x_rows>([&](auto m) __attribute__((always_inline)) {
          __m512& sum = total[m.kValue * kRows + r.kValue];
          sum = _mm512_fmadd_ps(bias, x_scales[2 * m.kValue + 1], sum);
        });
        // Of one row, all scales are multiplied at once.
        if (x_rows == 1) {
          scale[r.kValue] = _mm512_mul_ps(scale[r.kValue], x_scales[0]);
        }
      });
      block += std::ptrdiff_t{x_rows} * Layout::kBlockBytes;
      __m512i lanes = first_lanes;
      const int block_end =
          smaller(at + lanes_of_group * kChunkBytes, row_bytes);
      const auto multiply_chunk = [&](auto bytes)
          __attribute__((always_inline)) {
        const __m512i which = _mm512_srl_epi32(lanes, lanes_shift);
        lanes = _mm512_add_epi32(lanes, _mm512_set1_epi32(kLanes));
        __m512i code[kRows][kPlanes];
        __m512 picked[kRows];
        ask(ahead, asked, kStepBytes);
        asked += kStepBytes;
        for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
          unpack<bits>(
              load_bytes(row[r.kValue] + at,
                         bytes.kValue == 0 ? row_bytes - at : bytes.kValue),
              code[r.kValue]);
          picked[r.kValue] = _mm512_permutexvar_ps(which, scale[r.kValue]);
        });
        for_each_number<x_rows>([&](auto m) __attribute__((always_inline)) {
          const __m512i* plane = reinterpret_cast<const __m512i*>(
              planes + std::ptrdiff_t{m.kValue} * 2 * kPlanes * kPlaneBytes);
          __m512 x_scale = _mm512_setzero_ps();
          if constexpr (x_rows > 1) {
            x_scale = _mm512_permutexvar_ps(which, x_scales[2 * m.kValue]);
          }
          __m512i dot[kRows];
          for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
            dot[r.kValue] = _mm512_setzero_si512();
          });
          for_each_number<2 * kPlanes>([&](
              auto p) __attribute__((always_inline)) {
            const __m512i factors = kept(plane[p.kValue]);
            for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
              __m512i& sum = dot[r.kValue];
              if constexpr (p.kValue == kPlanes) {
                sum = _mm512_slli_epi32(sum, 8);
              }
              sum = _mm512_dpbusd_epi32(sum, code[r.kValue][p.kValue % kPlanes],
                                        factors);
            });
          });
          for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
            const __m512 factor = x_rows > 1
                                      ? _mm512_mul_ps(picked[r.kValue], x_scale)
                                      : picked[r.kValue];
            __m512& sum = total[m.kValue * kRows + r.kValue];
            sum =
                _mm512_fmadd_ps(_mm512_cvtepi32_ps(dot[r.kValue]), factor, sum);
          });
        });
        planes += std::ptrdiff_t{x_rows} * 2 * kPlanes * kPlaneBytes;
      };
      for (; at + kChunkBytes <= block_end; at += kChunkBytes) {
        multiply_chunk(Number<kChunkBytes>{});
      }
      if (at < block_end) multiply_chunk(Number<0>{});
    }
    store_sums<kRows, x_rows>(total, end - n, y + (n - begin), y_stride);
  }
}

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmv_slabs.inl.h"

namespace llamlx {
namespace {

// The bytes at even and at odd places of a and b.
struct Halves {
  __m512i even, odd;
};
Halves parted(__m512i a, __m512i b) {
  alignas(64) static constexpr auto kEven = [] {
    struct {
      std::uint8_t byte[64];
    } from{};
    for (int i = 0; i < 64; ++i)
      from.byte[i] = static_cast<std::uint8_t>(2 * i);
    return from;
  }();
  const __m512i even = _mm512_load_si512(&kEven);
  const __m512i odd = _mm512_or_si512(even, _mm512_set1_epi8(1));
  return {_mm512_permutex2var_epi8(a, even, b),
          _mm512_permutex2var_epi8(a, odd, b)};
}

// 64 `planes` bytes in order, as planes.
void store_planes(const Byte* bytes, int planes, __m512i* to) {
  const __m512i* from = reinterpret_cast<const __m512i*>(bytes);
  if (planes == 1) {
    to[0] = from[0];
  } else if (planes == 2) {
    const Halves halves = parted(from[0], from[1]);
    to[0] = halves.even;
    to[1] = halves.odd;
  } else {
    const Halves first = parted(from[0], from[1]);
    const Halves second = parted(from[2], from[3]);
    const Halves even = parted(first.even, second.even);
    const Halves odd = parted(first.odd, second.odd);
    to[0] = even.even;
    to[1] = odd.even;
    to[2] = even.odd;
    to[3] = odd.odd;
  }
}

// Rounds a group of x to bytes of two planes; its scale and sum.
void round_group(const float* x, int count, Byte* high, Byte* low, float* scale,
                 float* sum) {
  const __m512i magnitude = _mm512_set1_epi32(0x7fffffff);
  __m512i most = _mm512_setzero_si512();
  for (int i = 0; i < count; i += kLanes) {
    most = _mm512_max_epu32(
        most, _mm512_and_si512(_mm512_loadu_si512(x + i), magnitude));
  }
  const auto [unit, per_unit] = rounding_of(_mm512_reduce_max_epu32(most));
  *scale = unit;
  __m512i total = _mm512_setzero_si512();
  for (int i = 0; i < count; i += kLanes) {
    const __m512i units = _mm512_cvtps_epi32(
        _mm512_mul_ps(_mm512_loadu_ps(x + i), _mm512_set1_ps(per_unit)));
    total = _mm512_add_epi32(total, units);
    const __m512i above =
        _mm512_srai_epi32(_mm512_add_epi32(units, _mm512_set1_epi32(128)), 8);
    _mm_store_si128(reinterpret_cast<__m128i*>(high + i),
                    _mm512_cvtepi32_epi8(above));
    _mm_store_si128(reinterpret_cast<__m128i*>(low + i),
                    _mm512_cvtepi32_epi8(units));
  }
  *sum = *scale * static_cast<float>(_mm512_reduce_add_epi32(total));
}

void prepare_row(const WeightFormat& format, const Layout& layout,
                 const float* x, int x_rows, int cols, int m, Byte* prepared) {
  // A multiple of every group and every chunk.
  constexpr int kColumns = 256;
  alignas(64) Byte high[kColumns];
  alignas(64) Byte low[kColumns];
  const std::ptrdiff_t block_step =
      std::ptrdiff_t{x_rows} * Layout::kBlockBytes;
  float* block = reinterpret_cast<float*>(prepared + std::ptrdiff_t{m} *
                                                         Layout::kBlockBytes);
  for (int i = 0; i < layout.blocks; ++i) {
    std::memset(reinterpret_cast<Byte*>(block) + i * block_step, 0,
                Layout::kBlockBytes);
  }
  Byte* chunk = prepared + x_rows * layout.blocks_bytes() +
                std::ptrdiff_t{m} * layout.chunk_bytes();
  const int chunk_columns = layout.planes * kPlaneBytes;
  int lane = 0;
  for (int col = 0; col < cols; col += kColumns) {
    const int count = smaller(cols - col, kColumns);
    if (count < kColumns) {
      std::memset(high, 0, sizeof(high));
      std::memset(low, 0, sizeof(low));
    }
    for (int i = 0; i < count; i += format.group_size) {
      round_group(x + col + i, format.group_size, high + i, low + i,
                  block + lane, block + kLanes + lane);
      if (++lane == kLanes) {
        lane = 0;
        block += block_step / 4;
      }
    }
    for (int i = 0; i < count; i += chunk_columns) {
      __m512i* to = reinterpret_cast<__m512i*>(chunk);
      store_planes(high + i, layout.planes, to);
      store_planes(low + i, layout.planes, to + layout.planes);
      chunk += std::ptrdiff_t{x_rows} * layout.chunk_bytes();
    }
  }
}

void prepare(const WeightFormat& format, const float* x, int x_stride, int rows,
             int cols, int begin, int end, void* prepared) {
  const Layout layout = layout_of(format, cols);
  for (int i = begin; i < end; ++i) {
    const int first = i / kSlabRows * kSlabRows;
    prepare_row(format, layout, x + std::ptrdiff_t{i} * x_stride,
                smaller(rows - first, kSlabRows), cols, i - first,
                static_cast<Byte*>(prepared) + first * layout.row_bytes());
  }
}

}  // namespace

const MatmulKernel qmv_avx512_vnni{
    "qmv_avx512_vnni", Isa::avx512_vnni, 1,       kMostRows,     4,
    supports,          prepared_bytes,   prepare, scratch_bytes, multiply};

}  // namespace llamlx
