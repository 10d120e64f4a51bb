#pragma once

// y = x w^T in squares of 32 rows of x and 32 rows of w, by a unit that
// multiplies tiles of 16 rows of 32 bfloat16: 2 x 2 tiles of sums, and two
// tiles of each operand at a time. Over struct Tiles, the unit or its
// emulation; included after simd_avx512.h and kPlanes.
//
// Products of two planes (see there) leave out that of both rests, which is
// 2^-16 of the whole: compute f16's operands have 11 bits.
//
// Bound by arithmetic, 4 tile products of 16 cycles for 4 tile loads; a block
// of w is unpacked once for all rows of x, which come from the second cache and
// are asked for ahead.
//
// Layout  prepared x: block of kBlock columns after block; in each, the tiles
// of 16 rows after those of the rows before; columns in order, plane after
// plane. Rows and columns are filled up to whole tiles with zeros. A packed
// block of w: [2 of 16 rows] [plane] [words, 16].

#include "cpu/matmul/matmul.h"

namespace llamlx {
namespace {

inline constexpr int kBlockWords = 512 / kPlanes;

}  // namespace
}  // namespace llamlx

#include "cpu/matmul/qmm_bf16.inl.h"

namespace llamlx {
namespace {

inline constexpr int kTileRows = 16;
inline constexpr int kTileColumns = 32;
inline constexpr int kTileWords = 256;
inline constexpr int kRowStep = 32;
inline constexpr std::ptrdiff_t kPanelWords =
    Index(kPlanes) * Product::kPlaneWords;
inline constexpr int kTileBytes = kTileWords * 4;
// Products of the planes: nearest by nearest, and by either rest.
inline constexpr int kProducts = kPlanes == 1 ? 1 : 3;
static_assert(kLanes == kTileRows && kBlock % kTileColumns == 0);

inline bool supports(const WeightFormat& format, int cols, ValueType compute) {
  constexpr auto kCompute = kPlanes == 1 ? ValueType::bf16 : ValueType::f16;
  return compute == kCompute && supports_format(format, cols);
}

inline int tiles_of(int columns) {
  return (columns + kTileColumns - 1) / kTileColumns;
}

inline std::size_t prepared_bytes(const WeightFormat&, int rows, int cols) {
  return static_cast<std::size_t>(round_up(rows, kTileRows) / kTileRows) *
         static_cast<std::size_t>(tiles_of(cols)) * kPlanes * kTileBytes;
}

// Where the block of x that begins at column `start` lies, in words.
inline std::ptrdiff_t block_offset(int rows, int start) {
  return Index(round_up(rows, kTileRows) / kTileRows) * tiles_of(start) *
         kPlanes * kTileWords;
}

// `columns` numbers of a row to its places in the tiles from `to` on.
template <int plane>
void prepare_row(const float* x, int columns, float* to) {
  for (int k = 0; k < columns; k += kTileColumns) {
    Simd::store(
        to + Index(k / kTileColumns) * kPlanes * kTileWords,
        load_values<float, Product::load_f32<plane>>(x + k, columns - k));
  }
  if constexpr (plane + 1 < kPlanes) {
    prepare_row<plane + 1>(x, columns, to + kTileWords);
  }
}

inline void prepare_rows(const WeightFormat&, const float* x, int x_stride,
                         int rows, int cols, int begin, int end,
                         void* prepared) {
  const float zeros[kBlock] = {};
  for (int start = 0; start < cols; start += kBlock) {
    const int count = smaller(kBlock, cols - start);
    float* block = static_cast<float*>(prepared) + block_offset(rows, start);
    for (int row = begin; row < round_up(end, kTileRows); ++row) {
      const std::ptrdiff_t tile =
          Index(row / kTileRows) * tiles_of(count) * kPlanes;
      const float* from = row < end ? x + Index(row) * x_stride + start : zeros;
      prepare_row<0>(
          from, count,
          block + tile * kTileWords + Index(row % kTileRows) * kLanes);
    }
  }
}

inline std::size_t scratch_bytes(const WeightFormat&, int, int) {
  constexpr int kSums = 32 * 32;
  return (2 * kPlanes * Product::kPlaneWords + kSums) * sizeof(float);
}

// Rows [first, first + 16) of w; columns are filled up to whole tiles.
inline void pack_rows(const WeightView& w, int first, int start, int count,
                      float* panel) {
  pack_weight({&w, first, start, count}, panel, kLanes);
  const int words = (count + 1) / 2;
  for (int k = words; k < tiles_of(count) * kTileRows; ++k) {
    for (int plane = 0; plane < kPlanes; ++plane) {
      Simd::store(
          panel + Index(plane) * Product::kPlaneWords + Index(k) * kLanes,
          Simd::zero());
    }
  }
}

// Asks for the tile of x that is multiplied a few steps later. The end of x is
// no concern: a prefetch does not fault.
inline void prefetch_tile(const float* x) {
  constexpr std::uintptr_t kTilesAhead = 4;
  const auto first =
      reinterpret_cast<std::uintptr_t>(x) + kTilesAhead * kTileBytes;
  for (std::uintptr_t at = 0; at < kTileBytes; at += 64) {
    __builtin_prefetch(reinterpret_cast<const void*>(first + at));
  }
}

// y [16 * row_tiles, 32] = or += x w^T over `tiles` tiles of columns. The rows
// of x from the 16th on lie `tiles` tiles after the first.
template <int row_tiles>
void multiply_square(const float* x, const float* w, int tiles, float* y,
                     int y_stride, bool adds) {
  constexpr bool kTwo = row_tiles == 2;
  float* y_next = y + Index(kTileRows) * y_stride;
  if (adds) {
    Tiles::load<0>(y, y_stride);
    Tiles::load<1>(y + kLanes, y_stride);
    if constexpr (kTwo) Tiles::load<2>(y_next, y_stride);
    if constexpr (kTwo) Tiles::load<3>(y_next + kLanes, y_stride);
  } else {
    Tiles::zero<0>();
    Tiles::zero<1>();
    if constexpr (kTwo) Tiles::zero<2>();
    if constexpr (kTwo) Tiles::zero<3>();
  }
  const std::ptrdiff_t next_rows = Index(tiles) * kPlanes * kTileWords;
  const float* w_next = w + kPanelWords;
  for (int tile = 0; tile < tiles; ++tile) {
    for (int product = 0; product < kProducts; ++product) {
      const float* x_tile = x + (product == 2 ? kTileWords : 0);
      const std::ptrdiff_t w_plane = product == 1 ? Product::kPlaneWords : 0;
      Tiles::load<4>(x_tile, kLanes);
      Tiles::load<6>(w + w_plane, kLanes);
      Tiles::load<7>(w_next + w_plane, kLanes);
      if (product != 1) prefetch_tile(x_tile);
      Tiles::multiply_add<0, 4, 6>();
      if constexpr (kTwo) Tiles::load<5>(x_tile + next_rows, kLanes);
      Tiles::multiply_add<1, 4, 7>();
      if (kTwo && product != 1) prefetch_tile(x_tile + next_rows);
      if constexpr (kTwo) Tiles::multiply_add<2, 5, 6>();
      if constexpr (kTwo) Tiles::multiply_add<3, 5, 7>();
    }
    x += Index(kPlanes) * kTileWords;
    w += kTileWords;
    w_next += kTileWords;
  }
  Tiles::store<0>(y, y_stride);
  Tiles::store<1>(y + kLanes, y_stride);
  if constexpr (kTwo) Tiles::store<2>(y_next, y_stride);
  if constexpr (kTwo) Tiles::store<3>(y_next + kLanes, y_stride);
}

// A square of which y has only `rows` rows of `width`, by way of `sums`.
inline void multiply_part(const float* x, const float* w, int tiles, float* y,
                          int y_stride, int rows, int width, bool adds,
                          float* sums) {
  if (adds) copy_rows(y, y_stride, rows, width, sums, 32);
  const auto multiply =
      rows > kTileRows ? multiply_square<2> : multiply_square<1>;
  multiply(x, w, tiles, sums, 32, adds);
  copy_rows(sums, 32, rows, width, y, y_stride);
}

inline void multiply_rows(const WeightView& w, const void* prepared, int rows,
                          const WeightRun& run, void* scratch, float* y,
                          int y_stride) {
  const auto& [begin, end, next] = run;
  float* panel = static_cast<float*>(scratch);
  float* panel_next = panel + kPanelWords;
  float* sums = panel_next + kPanelWords;
  Tiles::configure();
  for (int start = 0; start < w.cols; start += kBlock) {
    const int count = smaller(kBlock, w.cols - start);
    const int tiles = tiles_of(count);
    const float* block =
        static_cast<const float*>(prepared) + block_offset(rows, start);
    for (int n = begin; n < end; n += 2 * kTileRows) {
      pack_rows(w, n, start, count, panel);
      pack_rows(w, n + kTileRows, start, count, panel_next);
      const int width = smaller(2 * kTileRows, end - n);
      for (int i = 0; i < rows; i += 2 * kTileRows) {
        const float* x =
            block + Index(i / kTileRows) * tiles * kPlanes * kTileWords;
        float* to = y + Index(i) * y_stride + (n - begin);
        if (rows - i >= 2 * kTileRows && width == 2 * kTileRows) {
          multiply_square<2>(x, panel, tiles, to, y_stride, start > 0);
        } else {
          multiply_part(x, panel, tiles, to, y_stride,
                        smaller(2 * kTileRows, rows - i), width, start > 0,
                        sums);
        }
      }
    }
  }
  Tiles::release();
}

}  // namespace
}  // namespace llamlx
