#pragma once

// Few rows of x times a quantised weight read in place, in integers, on 64-bit
// ARM: x is two planes of signed bytes (qmv_planes.inl.h). Products of bytes
// and their sums over a group are exact; float32 begins at the sum of a group.
//
// A NAME_ISA.cpp includes qmv_neon_codes.inl.h and defines `struct Dots`
// before:
//   kSlabRows     rows of x (a "slab") whose sums have registers
//   kBlock        neighbours in memory of one plane of the prepared x
//   column(bits, i)   which of a unit's columns meets its byte i of a plane
//   centre(bits)  what unpack() takes from each code
//   Codes, unpack<bits>(row, at, codes)   a unit of each of the kRows rows
//   Sums, clear(sums), add(codes, x, sums)   products with both planes
//   total(sums)   256 high + low of each of the kRows rows, a lane each
//
// Four rows of the weight lie in the lanes of a vector, so that scales, biases
// and sums are those of four rows at once: their scales are transposed, four
// groups at a time.
//
// Sums of w x = s q x + b x per group: b meets the group's sum of x, of x as it
// was rounded, so that the rounding is that of x alone.

#include "cpu/matmul/kernel_list.h"
#include "cpu/matmul/qmv_planes.inl.h"
#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

using F = Simd::F;

constexpr int kMostRows = 8;  // of x, that it is good for
constexpr int kRows = 4;      // of the weight, multiplied together
constexpr int kSlabRows = Dots::kSlabRows;
constexpr int kUnitBytes = 2 * kUnit;  // of a prepared row: both planes

/// How one row of x lies when prepared: of each group its scale and its sum,
/// then its units, each kBlock high bytes, kBlock low ones, and so on. Rows of
/// a slab take turns, by group and by unit.
struct Layout {
  int groups;
  int units;

  static constexpr int kGroupBytes = 2 * 4;
  std::ptrdiff_t groups_bytes() const {
    return std::ptrdiff_t{groups} * kGroupBytes;
  }
  std::ptrdiff_t row_bytes() const {
    return groups_bytes() + std::ptrdiff_t{units} * kUnitBytes;
  }
};

Layout layout_of(const WeightFormat& format, int cols) {
  return {cols / format.group_size, cols / kUnit};
}

// `count` values, or as many as a vector has; the rest 0.
F load_values(const Byte* p, ValueType type, int count) {
  Byte part[sizeof(F)] = {};
  if (count < Simd::kLanes) {
    std::memcpy(part, p, static_cast<std::size_t>(count * bytes_of(type)));
    p = part;
  }
  if (type == ValueType::f32) {
    return Simd::load(reinterpret_cast<const float*>(p));
  }
  const auto* halves = reinterpret_cast<const std::uint16_t*>(p);
  return type == ValueType::f16 ? Simd::load_f16(halves)
                                : Simd::load_bf16(halves);
}

// Of kRows rows the values of `count` groups, or of as many as a vector has
// lanes: a vector a group.
[[gnu::always_inline]] inline void load_groups(const Byte* const (&row)[kRows],
                                               std::ptrdiff_t at,
                                               ValueType type, int count,
                                               F (&values)[kRows]) {
  for (int r = 0; r < kRows; ++r) {
    values[r] = load_values(row[r] + at, type, count);
  }
  Simd::transpose(values);
}

template <int bits, int x_rows>
void multiply_rows(const WeightView& w, const Byte* x, int begin, int end,
                   const WeightRun& run, float* y, int y_stride) {
  constexpr int kStepBytes = unit_bytes(bits);
  static_assert(kRows == Simd::kLanes);
  const ValueType type = w.format.values;
  const Layout layout = layout_of(w.format, w.cols);
  const int units = w.format.group_size / kUnit;  // of a group
  const std::ptrdiff_t row_bytes = bytes_of_row(w);
  const std::ptrdiff_t scale_bytes =
      std::ptrdiff_t{layout.groups} * bytes_of(type);
  const RowsAhead later = rows_ahead(row_bytes, kRows);

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
    F total[x_rows];
    for (auto& sum : total) sum = Simd::zero();
    const Byte* x_group = x;
    const Byte* x_unit = x + x_rows * layout.groups_bytes();
    std::ptrdiff_t at = 0;
    for (int first = 0; first < layout.groups; first += Simd::kLanes) {
      const int count = layout.groups - first;
      const std::ptrdiff_t from = std::ptrdiff_t{first} * bytes_of(type);
      F scale[kRows];
      F bias[kRows];
      load_groups(scales, from, type, count, scale);
      load_groups(biases, from, type, count, bias);
      for (int g = 0; g < smaller(count, Simd::kLanes); ++g) {
        typename Dots::Sums sums[x_rows];
        for (auto& sum : sums) Dots::clear(sum);
        for (int u = 0; u < units; ++u) {
          ask(ahead, asked, kRows * kStepBytes);
          asked += kRows * kStepBytes;
          typename Dots::Codes codes;
          Dots::template unpack<bits>(row, at, codes);
          for_each_number<x_rows>([&](auto m) __attribute__((always_inline)) {
            Dots::add(codes, x_unit + m.kValue * kUnitBytes, sums[m.kValue]);
          });
          at += kStepBytes;
          x_unit += x_rows * kUnitBytes;
        }
        const F offset =
            Simd::fma(scale[g], Simd::set1(Dots::centre(bits)), bias[g]);
        for_each_number<x_rows>([&](auto m) __attribute__((always_inline)) {
          const float32x2_t of_x =
              vld1_f32(reinterpret_cast<const float*>(x_group) + 2 * m.kValue);
          const F factor = vmulq_lane_f32(scale[g], of_x, 0);
          F& sum = total[m.kValue];
          sum = vfmaq_lane_f32(sum, offset, of_x, 1);
          sum = Simd::fma(vcvtq_f32_s32(Dots::total(sums[m.kValue])), factor,
                          sum);
        });
        x_group += x_rows * Layout::kGroupBytes;
      }
    }
    for (int m = 0; m < x_rows; ++m) {
      Simd::store_part(y + std::ptrdiff_t{m} * y_stride + (n - begin), total[m],
                       end - n);
    }
  }
}

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmv_slabs.inl.h"

namespace llamlx {
namespace {

/// Which of a unit's high bytes, in their order, and low bytes after them, is
/// stored where.
struct Order {
  std::uint8_t from[kUnitBytes];
};

Order order_of(int bits) {
  Order order;
  for (int i = 0; i < kUnitBytes; ++i) {
    const int block = i / (2 * Dots::kBlock);
    const int plane = i / Dots::kBlock % 2;
    const int column =
        Dots::column(bits, block * Dots::kBlock + i % Dots::kBlock);
    order.from[i] = static_cast<std::uint8_t>(plane * kUnit + column);
  }
  return order;
}

int16x8_t units_of(const float* x, float per_unit) {
  const int32x4_t low = vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x), per_unit));
  const int32x4_t high =
      vcvtnq_s32_f32(vmulq_n_f32(vld1q_f32(x + 4), per_unit));
  return vcombine_s16(vmovn_s32(low), vmovn_s32(high));
}

// Rounds a unit of x to both planes; returns four parts of its sum.
int32x4_t round_unit(const float* x, float per_unit, const Order& order,
                     Byte* to) {
  uint8x16x4_t bytes;
  int32x4_t sum = vdupq_n_s32(0);
  for (int half = 0; half < 2; ++half) {
    const int16x8_t first = units_of(x + 16 * half, per_unit);
    const int16x8_t second = units_of(x + 16 * half + 8, per_unit);
    sum = vpadalq_s16(vpadalq_s16(sum, first), second);
    bytes.val[half] = vreinterpretq_u8_s8(
        vcombine_s8(vrshrn_n_s16(first, 8), vrshrn_n_s16(second, 8)));
    bytes.val[2 + half] =
        vreinterpretq_u8_s8(vcombine_s8(vmovn_s16(first), vmovn_s16(second)));
  }
  for (int i = 0; i < kUnitBytes; i += 16) {
    vst1q_u8(to + i, vqtbl4q_u8(bytes, vld1q_u8(order.from + i)));
  }
  return sum;
}

std::uint32_t largest_bits_of(const float* x, int count) {
  uint32x4_t most = vdupq_n_u32(0);
  for (int i = 0; i < count; i += 4) {
    most = vmaxq_u32(most, vreinterpretq_u32_f32(vabsq_f32(vld1q_f32(x + i))));
  }
  return vmaxvq_u32(most);
}

// Row m of a slab of `x_rows`, which is prepared at `slab`.
void prepare_row(const WeightFormat& format, const Layout& layout,
                 const Order& order, const float* x, int x_rows, int m,
                 Byte* slab) {
  float* of_group = reinterpret_cast<float*>(slab) + std::ptrdiff_t{m} * 2;
  Byte* unit =
      slab + x_rows * layout.groups_bytes() + std::ptrdiff_t{m} * kUnitBytes;
  for (int group = 0; group < layout.groups; ++group) {
    const auto [scale, per_unit] =
        rounding_of(largest_bits_of(x, format.group_size));
    int32x4_t sum = vdupq_n_s32(0);
    for (int i = 0; i < format.group_size; i += kUnit) {
      sum = vaddq_s32(sum, round_unit(x + i, per_unit, order, unit));
      unit += std::ptrdiff_t{x_rows} * kUnitBytes;
    }
    of_group[0] = scale;
    of_group[1] = scale * static_cast<float>(vaddvq_s32(sum));
    of_group += std::ptrdiff_t{x_rows} * 2;
    x += format.group_size;
  }
}

void prepare(const WeightFormat& format, const float* x, int x_stride, int rows,
             int cols, int begin, int end, void* prepared) {
  const Layout layout = layout_of(format, cols);
  const Order order = order_of(format.bits);
  for (int i = begin; i < end; ++i) {
    const int first = i / kSlabRows * kSlabRows;
    prepare_row(format, layout, order, x + std::ptrdiff_t{i} * x_stride,
                smaller(rows - first, kSlabRows), i - first,
                static_cast<Byte*>(prepared) + first * layout.row_bytes());
  }
}

constexpr MatmulKernel kernel_named(std::string_view name, Isa isa) {
  return {name,           isa,     1,
          kMostRows,      kRows,   supports,
          prepared_bytes, prepare, scratch_bytes,
          multiply};
}

}  // namespace
}  // namespace llamlx
