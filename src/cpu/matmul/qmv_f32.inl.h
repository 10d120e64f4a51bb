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
//   fraction<bits, k>(v)  1 + code k of each lane / 2^bits, as floats
//   even, odd       the bf16 in a word's low, high half, as floats
//   iota, advance(v), shifted(v, n)  lane numbers, + kLanes, >> n
//   pick(f, v)      lane j is lane v[j] of f
//   load_f16, load_bf16 (p, count)   the first `count`, the rest 0
//
// A "chunk" is kLanes words of a row; codes (or halves) are multiplied in the
// order the shifts yield them: the first of every lane, the second of every
// lane, ... and x is prepared in that order, with zeros after its end. Scales
// are fetched kLanes groups (a "block") at a time.
//
// w = s q + b = t (1 + q / 2^bits) + (b - t), t = s 2^bits: a code becomes the
// top of a mantissa without an instruction that converts, and what that adds
// is taken off the bias, which meets the group's sum of x.

#include "cpu/matmul/matmul.h"

namespace llamlx {
namespace {

using F = Simd::F;
using Byte = unsigned char;
constexpr int kLanes = Simd::kLanes;
constexpr int kSlabRows = 8;      // of x, multiplied together
constexpr int kReadAhead = 8192;  // bytes of a weight
constexpr int kRowStep = 4;       // divides by what rows_at_once() says

constexpr int rows_at_once(int slab_rows) {
  const int rows = Words::kRegisters / 8 / ((slab_rows + 1) / 2);
  return rows >= 4 ? 4 : rows >= 2 ? 2 : 1;
}

constexpr int ceil_div(int a, int b) { return (a + b - 1) / b; }
constexpr int smaller(int a, int b) { return a < b ? a : b; }

constexpr int bytes_of(ValueType type) {
  return type == ValueType::f32 ? 4 : 2;
}

constexpr int log2_of(int a) { return a == 1 ? 0 : 1 + log2_of(a / 2); }

template <int value>
struct Number {
  static constexpr int kValue = value;
};

// Steps whose number the instructions want as a constant.
template <int k, int end, typename Step>
[[gnu::always_inline]] inline void for_each_number(const Step& step) {
  if constexpr (k < end) {
    step(Number<k>{});
    for_each_number<k + 1, end>(step);
  }
}

/// How one row of x lies when prepared: `sums` floats, a block at a time, of
/// its groups, and `chunks` chunks of `per_lane` vectors. Rows of a slab take
/// turns, by block and by chunk.
struct Layout {
  int sums;
  int per_lane;
  int chunks;

  int row_floats() const { return sums + chunks * per_lane * kLanes; }
};

Layout layout_of(const WeightFormat& format, int cols) {
  int per_lane = 1;
  int sums = 0;
  if (format.bits != 0) {
    per_lane = Words::codes_of(format.bits);
    sums = ceil_div(cols / format.group_size, kLanes) * kLanes;
  } else if (format.values == ValueType::bf16) {
    per_lane = 2;
  }
  return {sums, per_lane, ceil_div(cols, per_lane * kLanes)};
}

F load_values(const Byte* p, ValueType type, int count) {
  if (type == ValueType::bf16) return Words::load_bf16(p, count);
  if (type == ValueType::f16) return Words::load_f16(p, count);
  return Simd::load_part(reinterpret_cast<const float*>(p), count);
}

// Asks for a line that later rows need. The weight's end is no concern: a
// prefetch does not fault.
[[gnu::always_inline]] inline void prefetch(const Byte* p, std::ptrdiff_t at) {
  __builtin_prefetch(reinterpret_cast<const Byte*>(
      reinterpret_cast<std::uintptr_t>(p) + static_cast<std::uintptr_t>(at)));
}

// How far ahead of a row its prefetches are: whole steps of `rows` rows, so
// that each line is asked for once.
std::ptrdiff_t read_ahead(std::ptrdiff_t row_bytes, int rows) {
  const std::ptrdiff_t step = row_bytes * rows;
  return (kReadAhead + step - 1) / step * step;
}

template <int rows, int slab_rows>
void store_sums(const F (&total)[rows][slab_rows], int n, int begin, int end,
                float* y, int y_stride) {
  for (int r = 0; r < rows && n + r < end; ++r) {
    for (int m = 0; m < slab_rows; ++m) {
      y[std::ptrdiff_t{m} * y_stride + (n + r - begin)] =
          Simd::sum(total[r][m]);
    }
  }
}

// Where the rows n, n + 1, ... begin; those past the end stand for the last,
// so that a row is computed by the same instructions wherever it stands.
template <int rows>
void find_rows(const void* data, std::ptrdiff_t row_bytes, int n, int end,
               const Byte* (&row)[rows]) {
  for (int r = 0; r < rows; ++r) {
    const std::ptrdiff_t at = smaller(n + r, end - 1);
    row[r] = static_cast<const Byte*>(data) + at * row_bytes;
  }
}

template <int bits, int slab_rows>
void multiply_affine(const WeightView& w, const float* x, int begin, int end,
                     float* y, int y_stride) {
  constexpr int kPerLane = Words::codes_of(bits);
  constexpr int kRows = rows_at_once(slab_rows);
  constexpr int kChunkBytes = kLanes * kPerLane * bits / 8;
  const int group_size = w.format.group_size;
  const ValueType type = w.format.values;
  const Layout layout = layout_of(w.format, w.cols);
  const int words = w.cols / kPerLane;  // of a row
  const int groups = w.cols / group_size;
  const int chunks_in_block = group_size / kPerLane;
  const int lanes_shift = log2_of(group_size / kPerLane);
  const std::ptrdiff_t row_bytes = std::ptrdiff_t{w.cols} * bits / 8;
  const std::ptrdiff_t scale_bytes = std::ptrdiff_t{groups} * bytes_of(type);
  const std::ptrdiff_t ahead = read_ahead(row_bytes, kRows);
  const std::ptrdiff_t scale_ahead = ahead / row_bytes * scale_bytes;
  const F step = Simd::set1(1 << bits);
  const F minus_one = Simd::set1(-1);

  for (int n = begin; n < end; n += kRows) {
    const Byte* row[kRows];
    const Byte* scales[kRows];
    const Byte* biases[kRows];
    find_rows(w.data, row_bytes, n, end, row);
    find_rows(w.scales, scale_bytes, n, end, scales);
    find_rows(w.biases, scale_bytes, n, end, biases);
    F total[kRows][slab_rows];
    for (auto& sums : total) {
      for (auto& sum : sums) sum = Simd::zero();
    }
    const float* sums = x;
    const float* codes = x + std::ptrdiff_t{slab_rows} * layout.sums;
    int chunk = 0;
    for (int group = 0; group < groups; group += kLanes) {
      F scale[kRows];
      for (int r = 0; r < kRows; ++r) {
        const std::ptrdiff_t at = std::ptrdiff_t{group} * bytes_of(type);
        prefetch(scales[r] + at, scale_ahead);
        prefetch(biases[r] + at, scale_ahead);
        scale[r] =
            Simd::mul(load_values(scales[r] + at, type, groups - group), step);
        const F offset =
            Simd::fma(scale[r], minus_one,
                      load_values(biases[r] + at, type, groups - group));
        for (int m = 0; m < slab_rows; ++m) {
          total[r][m] =
              Simd::fma(offset, Simd::load(sums + m * kLanes), total[r][m]);
        }
      }
      sums += slab_rows * kLanes;
      typename Words::I lane = Words::iota();
      const int chunk_end = smaller(chunk + chunks_in_block, layout.chunks);
      for (; chunk < chunk_end; ++chunk) {
        typename Words::I word[kRows];
        F part[kRows][slab_rows];
        for (int r = 0; r < kRows; ++r) {
          const Byte* p = row[r] + std::ptrdiff_t{chunk} * kChunkBytes;
          prefetch(p, ahead);
          word[r] = Words::template load<bits>(p, words - chunk * kLanes);
          for (int m = 0; m < slab_rows; ++m) part[r][m] = Simd::zero();
        }
        for_each_number<0, kPerLane>([&](auto k) {
          F code[kRows];
          for (int r = 0; r < kRows; ++r) {
            code[r] = Words::template fraction<bits, k.kValue>(word[r]);
          }
          for (int m = 0; m < slab_rows; ++m) {
            const F factor =
                Simd::load(codes + (m * kPerLane + k.kValue) * kLanes);
            for (int r = 0; r < kRows; ++r) {
              part[r][m] = Simd::fma(code[r], factor, part[r][m]);
            }
          }
        });
        codes += slab_rows * kPerLane * kLanes;
        const typename Words::I which = Words::shifted(lane, lanes_shift);
        lane = Words::advance(lane);
        for (int r = 0; r < kRows; ++r) {
          const F s = Words::pick(scale[r], which);
          for (int m = 0; m < slab_rows; ++m) {
            total[r][m] = Simd::fma(part[r][m], s, total[r][m]);
          }
        }
      }
    }
    store_sums(total, n, begin, end, y, y_stride);
  }
}

template <ValueType type, int slab_rows>
void multiply_dense(const WeightView& w, const float* x, int begin, int end,
                    float* y, int y_stride) {
  constexpr int kRows = rows_at_once(slab_rows);
  constexpr int kPerLane = type == ValueType::bf16 ? 2 : 1;
  constexpr int kChunk = kLanes * kPerLane;
  constexpr int kChunkBytes = kChunk * bytes_of(type);
  const std::ptrdiff_t row_bytes = std::ptrdiff_t{w.cols} * bytes_of(type);
  const std::ptrdiff_t ahead = read_ahead(row_bytes, kRows);

  for (int n = begin; n < end; n += kRows) {
    const Byte* row[kRows];
    find_rows(w.data, row_bytes, n, end, row);
    F total[kRows][slab_rows];
    for (auto& sums : total) {
      for (auto& sum : sums) sum = Simd::zero();
    }
    const float* factors = x;
    for (int col = 0; col < w.cols; col += kChunk) {
      const std::ptrdiff_t at = std::ptrdiff_t{col} * bytes_of(type);
      const int count = smaller(w.cols - col, kChunk);
      F value[kPerLane][kRows];
      for (int r = 0; r < kRows; ++r) {
        if (kChunkBytes >= 64 || at % 64 < kChunkBytes) {
          prefetch(row[r] + at, ahead);
        }
        if constexpr (type == ValueType::bf16) {
          const auto pair = Words::load_bytes(row[r] + at, 2 * count);
          value[0][r] = Words::even(pair);
          value[1][r] = Words::odd(pair);
        } else {
          value[0][r] = load_values(row[r] + at, type, count);
        }
      }
      for (int k = 0; k < kPerLane; ++k) {
        for (int m = 0; m < slab_rows; ++m) {
          const F factor = Simd::load(factors + (m * kPerLane + k) * kLanes);
          for (int r = 0; r < kRows; ++r) {
            total[r][m] = Simd::fma(value[k][r], factor, total[r][m]);
          }
        }
      }
      factors += slab_rows * kChunk;
    }
    store_sums(total, n, begin, end, y, y_stride);
  }
}

using Multiply = void (*)(const WeightView&, const float*, int, int, float*,
                          int);

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

Multiply multiply_for(const WeightFormat& format, int slab_rows) {
  switch (slab_rows) {
    case 1:
      return multiply_for<1>(format);
    case 2:
      return multiply_for<2>(format);
    case 3:
      return multiply_for<3>(format);
    case 4:
      return multiply_for<4>(format);
    case 5:
      return multiply_for<5>(format);
    case 6:
      return multiply_for<6>(format);
    case 7:
      return multiply_for<7>(format);
    default:
      return multiply_for<8>(format);
  }
}

bool supports(const WeightFormat& format, int /*cols*/, ValueType /*compute*/) {
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

std::size_t prepared_bytes(const WeightFormat& format, int rows, int cols) {
  const auto floats = layout_of(format, cols).row_floats();
  return static_cast<std::size_t>(rows) * static_cast<std::size_t>(floats) *
         sizeof(float);
}

// One row x[0, cols) of a slab of `slab_rows`, of which `to` is the prepared
// row's first vector.
void prepare_row(const WeightFormat& format, const Layout& layout,
                 const float* x, int slab_rows, int cols, int m, float* to) {
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

void prepare(const WeightFormat& format, const float* x, int x_stride, int rows,
             int cols, int begin, int end, void* prepared) {
  const Layout layout = layout_of(format, cols);
  for (int i = begin; i < end; ++i) {
    const int first = i / kSlabRows * kSlabRows;
    prepare_row(format, layout, x + std::ptrdiff_t{i} * x_stride,
                smaller(rows - first, kSlabRows), cols, i - first,
                static_cast<float*>(prepared) +
                    std::ptrdiff_t{first} * layout.row_floats());
  }
}

std::size_t scratch_bytes(const WeightFormat& /*format*/, int /*rows*/,
                          int /*cols*/) {
  return 0;
}

void multiply(const WeightView& w, const void* prepared, int rows, int begin,
              int end, void* /*scratch*/, float* y, int y_stride) {
  const Layout layout = layout_of(w.format, w.cols);
  for (int first = 0; first < rows; first += kSlabRows) {
    multiply_for(w.format, smaller(rows - first, kSlabRows))(
        w,
        static_cast<const float*>(prepared) +
            std::ptrdiff_t{first} * layout.row_floats(),
        begin, end, y + std::ptrdiff_t{first} * y_stride, y_stride);
  }
}

}  // namespace
}  // namespace llamlx
