#pragma once

// Few rows of x times a weight read in place, in float32: bound by memory, so
// each byte of the weight is read once, far ahead by prefetches, and as many
// of its rows as the registers hold share each load of x.
//
// A NAME_ISA.cpp includes simd/simd_ISA.h and defines `struct Words` before:
// one word a lane, with
//   kRegisters      vector registers there are
//   codes_of(bits)  C, how many codes of so many bits a lane holds
//   load<bits>(p, lanes)  the codes at p, C in each of the first `lanes` lanes
//   load_bytes(p, bytes)  the first `bytes` bytes at p, the rest 0
//   centred<bits, k>(v)   code k of each lane / 2^bits - 1/2, as floats
//   even, odd       the bf16 in a word's low, high half, as floats
//   iota, advance(v), shifted(v, n)  lane numbers, + kLanes, >> n
//   pick(f, v)      lane j is lane v[j] of f
//   kept(f)         f, in a register: as operands in memory it would be loaded
//                   for every row of w, and so many loads keep the lines that
//                   prefetches ask for waiting
//   load_f16, load_bf16 (p, count)   the first `count`, the rest 0
// and, where kPackedBf16 is read faster than bf16,
//   tops(p)         Tops, the 16 high bytes that codes stand for
//   unpack(codes, low, tops, words)  the bf16 of a row's piece, in order
//
// A "chunk" is kLanes words of a row; codes (or halves) are multiplied in the
// order the shifts yield them: the first of every lane, the second of every
// lane, ... and x is prepared in that order, with zeros after its end. Scales
// are fetched kLanes groups (a "block") at a time.
//
// w = s q + b = t (q / 2^bits - 1/2) + (b + t / 2), t = s 2^bits: codes about
// zero keep sums, and so their roundings, small; what that takes away is given
// to the bias, which meets the group's sum of x. A code becomes the top of a
// mantissa in [1, 2), or chooses from a table, where that is less work.

#include "cpu/matmul/qmv_parts.inl.h"

namespace llamlx {
namespace {

using F = Simd::F;
inline constexpr int kLanes = Simd::kLanes;
inline constexpr int kRows = 4;  // of a weight, multiplied together

// Rows of x multiplied together, a "slab": so many as have registers for their
// sums, twice in a quantised weight.
inline constexpr int kSlabRows = Words::kRegisters / 8;

/// How one row of x lies when prepared: `sums` floats, a block at a time, of
/// its groups, and `chunks` chunks of `per_lane` vectors. Rows of a slab take
/// turns, by block and by chunk.
struct Layout {
  int sums;
  int per_lane;
  int chunks;

  int row_floats() const { return sums + chunks * per_lane * kLanes; }
};

inline Layout layout_of(const WeightFormat& format, int cols) {
  int per_lane = 1;
  int sums = 0;
  if (format.group_size != 0) {
    per_lane = Words::codes_of(format.bits);
    sums = ceil_div(cols / format.group_size, kLanes) * kLanes;
  } else if (format.values == ValueType::bf16) {
    per_lane = 2;
  }
  return {sums, per_lane, ceil_div(cols, per_lane * kLanes)};
}

inline F load_values(const Byte* p, ValueType type, int count) {
  if (type == ValueType::bf16) return Words::load_bf16(p, count);
  if (type == ValueType::f16) return Words::load_f16(p, count);
  return Simd::load_part(reinterpret_cast<const float*>(p), count);
}

// Inlined, or else the sums would have an address, and lie in memory.
template <int rows, int slab_rows>
[[gnu::always_inline]] inline void store_sums(const F (&total)[slab_rows][rows],
                                              int valid, float* y,
                                              int y_stride) {
  for_each_number<slab_rows>([&](auto m) __attribute__((always_inline)) {
    for_each_number<rows>([&](auto r) __attribute__((always_inline)) {
      if (r.kValue < valid) {
        y[std::ptrdiff_t{m.kValue} * y_stride + r.kValue] =
            Simd::sum(total[m.kValue][r.kValue]);
      }
    });
  });
}

template <int bits, int slab_rows>
void multiply_affine(const WeightView& w, const float* x, int begin, int end,
                     const WeightRun& run, float* y, int y_stride) {
  using I = Words::I;
  constexpr int kPerLane = Words::codes_of(bits);
  constexpr int kChunkBytes = kLanes * kPerLane * bits / 8;
  constexpr std::ptrdiff_t kStepBytes = std::ptrdiff_t{kRows} * kChunkBytes;
  const ValueType type = w.format.values;
  const Layout layout = layout_of(w.format, w.cols);
  const int words = w.cols / kPerLane;  // of a row
  const int groups = w.cols / w.format.group_size;
  const int chunks_in_block = w.format.group_size / kPerLane;
  const int lanes_shift = log2_of(w.format.group_size / kPerLane);
  const std::ptrdiff_t row_bytes = bytes_of_row(w);
  const std::ptrdiff_t scale_bytes = std::ptrdiff_t{groups} * bytes_of(type);
  const RowsAhead later = rows_ahead(row_bytes, kRows);
  const F step = Simd::set1(1 << bits);
  const F half = Simd::set1(0.5f);

  for (int n = begin; n < end; n += kRows) {
    const Byte* row[kRows];
    const Byte* scales[kRows];
    const Byte* biases[kRows];
    find_rows(w.data, row_bytes, n, end, row);
    find_rows(w.scales, scale_bytes, n, end, scales);
    find_rows(w.biases, scale_bytes, n, end, biases);
    const auto& [next_row, next_scales, next_biases] = run.next;
    const auto ahead =
        ahead_of<kRows>(row[0], row_bytes, n, later, run.end, next_row);
    std::ptrdiff_t asked = 0;
    ask(ahead_of<kRows>(scales[0], scale_bytes, n, later, run.end, next_scales),
        0, kRows * scale_bytes);
    ask(ahead_of<kRows>(biases[0], scale_bytes, n, later, run.end, next_biases),
        0, kRows * scale_bytes);
    F total[slab_rows][kRows];
    for_each_number<slab_rows * kRows>([&](
        auto i) __attribute__((always_inline)) {
      total[i.kValue / kRows][i.kValue % kRows] = Simd::zero();
    });
    const float* sums = x;
    const float* codes = x + std::ptrdiff_t{slab_rows} * layout.sums;
    int chunk = 0;
    for (int group = 0; group < groups; group += kLanes) {
      F scale[kRows];
      for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
        const std::ptrdiff_t at = std::ptrdiff_t{group} * bytes_of(type);
        const int count = groups - group;
        scale[r.kValue] =
            Simd::mul(load_values(scales[r.kValue] + at, type, count), step);
        const F offset =
            Simd::fma(scale[r.kValue], half,
                      load_values(biases[r.kValue] + at, type, count));
        for_each_number<slab_rows>([&](auto m) __attribute__((always_inline)) {
          F& sum = total[m.kValue][r.kValue];
          sum = Simd::fma(offset,
                          Simd::load(sums + std::ptrdiff_t{m.kValue} * kLanes),
                          sum);
        });
      });
      sums += std::ptrdiff_t{slab_rows} * kLanes;
      I lane = Words::iota();
      const int chunk_end = smaller(chunk + chunks_in_block, layout.chunks);
      for (; chunk < chunk_end; ++chunk) {
        I word[kRows];
        F picked[kRows];
        const I which = Words::shifted(lane, lanes_shift);
        lane = Words::advance(lane);
        ask(ahead, asked, kStepBytes);
        asked += kStepBytes;
        for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
          const Byte* p = row[r.kValue] + std::ptrdiff_t{chunk} * kChunkBytes;
          word[r.kValue] =
              Words::template load<bits>(p, words - chunk * kLanes);
          picked[r.kValue] = Words::pick(scale[r.kValue], which);
        });
        F part[slab_rows][kRows];
        for_each_number<kPerLane>([&](auto k) __attribute__((always_inline)) {
          F code[kRows];
          for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
            code[r.kValue] =
                Words::template centred<bits, k.kValue>(word[r.kValue]);
          });
          for_each_number<slab_rows>([&](
              auto m) __attribute__((always_inline)) {
            constexpr int kVector = m.kValue * kPerLane + k.kValue;
            const F factor = Words::kept(
                Simd::load(codes + std::ptrdiff_t{kVector} * kLanes));
            for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
              F& sum = part[m.kValue][r.kValue];
              sum = k.kValue == 0 ? Simd::mul(code[r.kValue], factor)
                                  : Simd::fma(code[r.kValue], factor, sum);
            });
          });
        });
        for_each_number<slab_rows * kRows>([&](
            auto i) __attribute__((always_inline)) {
          constexpr int kRow = i.kValue / kRows;
          constexpr int kColumn = i.kValue % kRows;
          F& sum = total[kRow][kColumn];
          sum = Simd::fma(part[kRow][kColumn], picked[kColumn], sum);
        });
        codes += std::ptrdiff_t{slab_rows} * kPerLane * kLanes;
      }
    }
    store_sums(total, end - n, y + (n - begin), y_stride);
  }
}

template <ValueType type, int slab_rows>
void multiply_dense(const WeightView& w, const float* x, int begin, int end,
                    const WeightRun& run, float* y, int y_stride) {
  constexpr int kPerLane = type == ValueType::bf16 ? 2 : 1;
  constexpr int kChunk = kLanes * kPerLane;
  constexpr int kChunkBytes = kChunk * bytes_of(type);
  constexpr std::ptrdiff_t kStepBytes = std::ptrdiff_t{kRows} * kChunkBytes;
  const std::ptrdiff_t row_bytes = bytes_of_row(w);
  const RowsAhead later = rows_ahead(row_bytes, kRows);

  for (int n = begin; n < end; n += kRows) {
    const Byte* row[kRows];
    find_rows(w.data, row_bytes, n, end, row);
    const auto ahead =
        ahead_of<kRows>(row[0], row_bytes, n, later, run.end, run.next.data);
    std::ptrdiff_t asked = 0;
    F total[slab_rows][kRows];
    for_each_number<slab_rows * kRows>([&](
        auto i) __attribute__((always_inline)) {
      total[i.kValue / kRows][i.kValue % kRows] = Simd::zero();
    });
    const float* factors = x;
    for (int col = 0; col < w.cols; col += kChunk) {
      const std::ptrdiff_t at = std::ptrdiff_t{col} * bytes_of(type);
      const int count = smaller(w.cols - col, kChunk);
      F value[kPerLane][kRows];
      ask(ahead, asked, kStepBytes);
      asked += kStepBytes;
      for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
        const Byte* p = row[r.kValue] + at;
        if constexpr (type == ValueType::bf16) {
          const auto pair = Words::load_bytes(p, 2 * count);
          value[0][r.kValue] = Words::even(pair);
          value[kPerLane - 1][r.kValue] = Words::odd(pair);
        } else {
          value[0][r.kValue] = load_values(p, type, count);
        }
      });
      for_each_number<kPerLane * slab_rows>([&](
          auto i) __attribute__((always_inline)) {
        constexpr int kWhich = i.kValue / slab_rows;
        constexpr int kRow = i.kValue % slab_rows;
        const F factor = Words::kept(Simd::load(
            factors + std::ptrdiff_t{kRow * kPerLane + kWhich} * kLanes));
        for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
          F& sum = total[kRow][r.kValue];
          sum = Simd::fma(value[kWhich][r.kValue], factor, sum);
        });
      });
      factors += std::ptrdiff_t{slab_rows} * kChunk;
    }
    store_sums(total, end - n, y + (n - begin), y_stride);
  }
}

template <typename W>
concept ReadsPacked = requires {
  typename W::Tops;
};

// bf16 in 12 bits: the operations on them are multiply_dense's, and so are the
// bits of the results.
template <typename W, int slab_rows>
void multiply_packed(const WeightView& weight, const float* x, int begin,
                     int end, const WeightRun& run, float* y, int y_stride) {
  static_assert(kRows == kPackedRows);
  constexpr int kPairs = kPackedCols / 2 / kLanes;  // vectors of a row's piece
  constexpr int kCodeBytes = kPackedCols / 2;
  const PackedBf16Rest& rest = *weight.rest;
  const auto tops = W::tops(rest.tops);
  const auto pieces = static_cast<std::uint32_t>(weight.cols / kPackedCols);
  const std::ptrdiff_t row_bytes = bytes_of_row(weight);
  const RowsAhead later = rows_ahead(row_bytes, kRows);

  for (int n = begin; n < end; n += kRows) {
    const Byte* band = static_cast<const Byte*>(weight.data) + n * row_bytes;
    const auto ahead =
        ahead_of<kRows>(band, row_bytes, n, later, run.end, run.next.data);
    const std::ptrdiff_t number = n / kRows;
    const std::ptrdiff_t first = rest.first[number];
    const std::uint32_t* untold = rest.untold + first;
    const Byte* value = reinterpret_cast<const Byte*>(
        rest.values + (first - number) * kPackedCols);
    F total[slab_rows][kRows];
    for_each_number<slab_rows * kRows>([&](
        auto i) __attribute__((always_inline)) {
      total[i.kValue / kRows][i.kValue % kRows] = Simd::zero();
    });
    const float* factors = x;
    for (std::uint32_t piece = 0; piece < pieces; ++piece) {
      ask(ahead, std::ptrdiff_t{piece} * kPackedBytes, kPackedBytes);
      typename W::I pair[kRows][kPairs];
      for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
        W::unpack(band + std::ptrdiff_t{r.kValue} * kCodeBytes,
                  band + std::ptrdiff_t{kRows + 2 * r.kValue} * kCodeBytes,
                  tops, pair[r.kValue]);
      });
      if (*untold / kRows == piece) {
        for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
          if (*untold != piece * kRows + r.kValue) return;
          for_each_number<kPairs>([&](auto i) __attribute__((always_inline)) {
            pair[r.kValue][i.kValue] = W::load_bytes(value, 4 * kLanes);
            value += std::ptrdiff_t{4} * kLanes;
          });
          ++untold;
        });
      }
      band += kPackedBytes;
      for_each_number<kPairs * slab_rows>([&](
          auto i) __attribute__((always_inline)) {
        constexpr int kPair = i.kValue / slab_rows;
        constexpr int kRow = i.kValue % slab_rows;
        const float* at =
            factors + std::ptrdiff_t{kPair * slab_rows + kRow} * 2 * kLanes;
        const F even = W::kept(Simd::load(at));
        const F odd = W::kept(Simd::load(at + kLanes));
        for_each_number<kRows>([&](auto r) __attribute__((always_inline)) {
          F& sum = total[kRow][r.kValue];
          sum = Simd::fma(W::even(pair[r.kValue][kPair]), even, sum);
          sum = Simd::fma(W::odd(pair[r.kValue][kPair]), odd, sum);
        });
      });
      factors += std::ptrdiff_t{slab_rows} * kPackedCols;
    }
    store_sums(total, end - n, y + (n - begin), y_stride);
  }
}

using Multiply = void (*)(const WeightView&, const float*, int, int,
                          const WeightRun&, float*, int);

template <int slab_rows>
Multiply multiply_for(const WeightFormat& format) {
  switch (format.bits) {
    case 2:
      return multiply_affine<2, slab_rows>;
    case 3:
      return multiply_affine<3, slab_rows>;
    case 4:
      return multiply_affine<4, slab_rows>;
    case 5:
      return multiply_affine<5, slab_rows>;
    case 6:
      return multiply_affine<6, slab_rows>;
    case 8:
      return multiply_affine<8, slab_rows>;
    case kPackedBf16.bits:
      if constexpr (ReadsPacked<Words>)
        return multiply_packed<Words, slab_rows>;
      break;
    default:
      break;
  }
  switch (format.values) {
    case ValueType::f16:
      return multiply_dense<ValueType::f16, slab_rows>;
    case ValueType::bf16:
      return multiply_dense<ValueType::bf16, slab_rows>;
    default:
      return multiply_dense<ValueType::f32, slab_rows>;
  }
}

inline Multiply multiply_for(const WeightFormat& format, int slab_rows) {
  if constexpr (kSlabRows > 2) {
    if (slab_rows == 4) return multiply_for<4>(format);
    if (slab_rows == 3) return multiply_for<3>(format);
  }
  return slab_rows == 2 ? multiply_for<2>(format) : multiply_for<1>(format);
}

inline bool supports(const WeightFormat& format, int cols,
                     ValueType /*compute*/) {
  if (format == kPackedBf16)
    return ReadsPacked<Words> && cols % kPackedCols == 0;
  const int group = format.group_size;
  switch (format.bits) {
    case 0:
      return group == 0;
    case 2:
    case 3:
    case 4:
    case 5:
    case 6:
    case 8:
      return group == 32 || group == 64 || group == 128;
    default:
      return false;
  }
}

inline std::size_t prepared_bytes(const WeightFormat& format, int rows,
                                  int cols) {
  const auto floats = layout_of(format, cols).row_floats();
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(floats) *
         sizeof(float);
}

// One row x[0, cols) of a slab of `slab_rows`, of which `to` is the prepared
// row's first vector.
inline void prepare_row(const WeightFormat& format, const Layout& layout,
                        const float* x, int slab_rows, int cols, int m,
                        float* to) {
  float* sums = to + std::ptrdiff_t{m} * kLanes;
  for (int first = 0; first < layout.sums; first += kLanes) {
    for (int j = 0; j < kLanes; ++j) {
      const std::ptrdiff_t col = std::ptrdiff_t{first + j} * format.group_size;
      F sum = Simd::zero();
      if (col < cols) {
        for (int i = 0; i < format.group_size; i += kLanes) {
          sum = Simd::add(sum, Simd::load(x + col + i));
        }
      }
      sums[j] = Simd::sum(sum);
    }
    sums += std::ptrdiff_t{slab_rows} * kLanes;
  }
  const int chunk_floats = layout.per_lane * kLanes;
  float* chunk = to + std::ptrdiff_t{slab_rows} * layout.sums +
                 std::ptrdiff_t{m} * chunk_floats;
  for (int col = 0; col < cols; col += chunk_floats) {
    for (int k = 0; k < layout.per_lane; ++k) {
      for (int j = 0; j < kLanes; ++j) {
        const int from = col + j * layout.per_lane + k;
        chunk[k * kLanes + j] = from < cols ? x[from] : 0;
      }
    }
    chunk += std::ptrdiff_t{slab_rows} * chunk_floats;
  }
}

inline void prepare(const WeightFormat& format, const float* x, int x_stride,
                    int rows, int cols, int begin, int end, void* prepared) {
  const Layout layout = layout_of(format, cols);
  for (int i = begin; i < end; ++i) {
    const int first = i / kSlabRows * kSlabRows;
    prepare_row(format, layout, x + std::ptrdiff_t{i} * x_stride,
                smaller(rows - first, kSlabRows), cols, i - first,
                static_cast<float*>(prepared) +
                    std::ptrdiff_t{first} * layout.row_floats());
  }
}

inline std::size_t scratch_bytes(const WeightFormat& /*format*/, int /*rows*/,
                                 int /*cols*/) {
  return 0;
}

inline void multiply(const WeightView& w, const void* prepared, int rows,
                     const WeightRun& run, void* /*scratch*/, float* y,
                     int y_stride) {
  const std::ptrdiff_t slab_floats =
      std::ptrdiff_t{kSlabRows} * layout_of(w.format, w.cols).row_floats();
  for_each_block(
      ceil_div(rows, kSlabRows), run, bytes_of_row(w),
      [&](int slab, int first, int last) {
        const std::ptrdiff_t row = std::ptrdiff_t{slab} * kSlabRows;
        multiply_for(w.format,
                     smaller(rows - static_cast<int>(row), kSlabRows))(
            w, static_cast<const float*>(prepared) + slab * slab_floats, first,
            last, run, y + row * y_stride + (first - run.begin), y_stride);
      });
}

}  // namespace
}  // namespace llamlx
