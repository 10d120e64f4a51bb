#include "cpu/packed_bf16/packed_bf16.h"

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <span>

namespace llamlx {
namespace {

constexpr std::uint8_t kPairs = 8;  // of exponents that have a code
constexpr std::size_t kCodeBytes = kPackedCols / 2;

using Values = std::span<const std::uint16_t>;

Values row_of(const WeightView& w, int row) {
  const auto cols = static_cast<std::size_t>(w.cols);
  return {static_cast<const std::uint16_t*>(w.data) +
              static_cast<std::size_t>(row) * cols,
          cols};
}

// What codes stand for: both signs of kPairs pairs of exponents in a row; but
// zeros, of which some weights have many, may have the code of another.
struct Codes {
  static constexpr std::uint8_t kCount = 2 * kPairs;
  static constexpr std::uint8_t kNone = kCount;
  std::uint8_t first_pair = 0;
  std::uint8_t zero = kNone;

  // The code of a high byte, or kNone.
  std::uint8_t of(std::uint8_t top) const {
    const auto pair = static_cast<std::uint8_t>((top & 0x7f) - first_pair);
    const auto code =
        static_cast<std::uint8_t>((pair & (kPairs - 1)) | (top >> 4 & kPairs));
    const bool has_code = pair < kPairs && code != zero;
    return top == 0 ? zero : has_code ? code : kNone;
  }
  std::uint8_t top(std::uint8_t code) const {
    if (code == zero) return 0;
    return static_cast<std::uint8_t>(first_pair + code % kPairs +
                                     (code < kPairs ? 0 : 0x80));
  }
};

// Rows evenly over the weight that are enough to know it by.
std::vector<int> sample_rows(const WeightView& w) {
  constexpr int kValues = 1 << 16;
  const int count = std::clamp(kValues / w.cols, 1, w.rows);
  std::vector<int> rows;
  for (int i = 0; i < count; ++i) {
    rows.push_back(static_cast<int>(std::int64_t{i} * w.rows / count));
  }
  return rows;
}

// Those that tell most values of these rows.
Codes choose_codes(const WeightView& w, const std::vector<int>& rows) {
  std::array<std::uint32_t, 256> count{};
  for (const int row : rows) {
    for (const auto value : row_of(w, row)) ++count[value >> 8];
  }
  Codes codes;
  std::uint32_t most = 0;
  for (std::uint8_t first = 0; first <= 128 - kPairs; ++first) {
    std::uint32_t told = 0;
    for (std::size_t pair = first; pair < std::size_t{first} + kPairs; ++pair) {
      told += count[pair] + count[pair + 0x80];
    }
    if (told <= most) continue;
    most = told;
    codes.first_pair = first;
  }
  std::uint8_t rarest = 0;
  for (std::uint8_t code = 0; code < Codes::kCount; ++code) {
    if (count[codes.top(code)] < count[codes.top(rarest)]) rarest = code;
  }
  if (codes.first_pair == 0) {
    codes.zero = 0;  // it is one of them
  } else if (count[0] > count[codes.top(rarest)]) {
    codes.zero = rarest;
  }
  return codes;
}

bool is_worthwhile(const WeightView& w, const std::vector<int>& rows,
                   const Codes& codes) {
  std::size_t untold = 0;
  std::size_t all = 0;
  for (const int row : rows) {
    const auto values = row_of(w, row);
    for (std::size_t at = 0; at < values.size(); at += kPackedCols, ++all) {
      const auto piece = values.subspan(at, kPackedCols);
      untold += std::ranges::any_of(piece, [&](std::uint16_t value) {
        return codes.of(static_cast<std::uint8_t>(value >> 8)) == Codes::kNone;
      });
    }
  }
  return 16 * untold <= all;
}

// Bytes in the order in which vectors interleave.
void place(const std::array<std::uint8_t, kPackedCols>& bytes,
           std::uint8_t* to) {
  constexpr std::ptrdiff_t kHalf = 8;  // of a vector of 16
  for (std::ptrdiff_t at = 0; at < kPackedCols / 2; at += kHalf) {
    std::memcpy(to + 2 * at, bytes.data() + at, kHalf);
    std::memcpy(to + 2 * at + kHalf, bytes.data() + kPackedCols / 2 + at,
                kHalf);
  }
}

// Writes the codes and low bytes of a row's piece; true when codes tell it all.
// In loops that compilers make vectors of.
bool pack_piece(const std::uint16_t* values, Codes codes, std::uint8_t* to,
                std::uint8_t* low) {
  std::array<std::uint8_t, kPackedCols> bytes;
  for (std::size_t i = 0; i < kPackedCols; ++i) {
    bytes[i] = static_cast<std::uint8_t>(values[i]);
  }
  place(bytes, low);
  std::uint8_t all = 0;
  for (std::size_t i = 0; i < kPackedCols; ++i) {
    bytes[i] = codes.of(static_cast<std::uint8_t>(values[i] >> 8));
    all |= bytes[i];
  }
  std::array<std::uint8_t, kPackedCols> placed;
  place(bytes, placed.data());
  for (std::size_t i = 0; i < kCodeBytes; ++i) {
    to[i] = static_cast<std::uint8_t>(placed[i] | placed[i + kCodeBytes] << 4);
  }
  return all < Codes::kNone;
}

int bands_of(const WeightView& w) {
  return (w.rows + kPackedRows - 1) / kPackedRows;
}

// Of a weight's pieces, in the order of its bands.
std::size_t pieces_of_band(const WeightView& w) {
  return static_cast<std::size_t>(w.cols / kPackedCols) * kPackedRows;
}

// Writes a band, and for each piece whether codes tell it.
void pack_band(const WeightView& w, int band, const Codes& codes,
               std::uint8_t* to, std::uint8_t* is_told) {
  for (std::size_t col = 0; col < static_cast<std::size_t>(w.cols);
       col += kPackedCols, to += kPackedBytes) {
    for (std::size_t r = 0; r < kPackedRows; ++r) {
      auto* code = to + r * kCodeBytes;
      auto* low = to + (kPackedRows + 2 * r) * kCodeBytes;
      const int row = band * kPackedRows + static_cast<int>(r);
      if (row < w.rows) {
        *is_told++ = pack_piece(row_of(w, row).data() + col, codes, code, low);
        continue;
      }
      std::memset(code, 0, kCodeBytes);
      std::memset(low, 0, 2 * kCodeBytes);
      *is_told++ = true;
    }
  }
}

}  // namespace

bool PackedBf16::takes(const WeightView& w) {
  return w.format == WeightFormat{ValueType::bf16, 0, 0} &&
         w.cols % kPackedCols == 0;
}

std::size_t PackedBf16::band_bytes(const WeightView& w) {
  return static_cast<std::size_t>(bands_of(w)) * pieces_of_band(w) *
         (kPackedBytes / kPackedRows);
}

PackedBf16::PackedBf16(const WeightView& w, const std::byte* bands)
    : view_{kPackedBf16, w.rows, w.cols, bands, nullptr, nullptr, &rest_} {}

std::unique_ptr<const PackedBf16> PackedBf16::pack(const WeightView& w,
                                                   ThreadPool& pool,
                                                   std::byte* to) {
  const auto sample = sample_rows(w);
  const auto codes = choose_codes(w, sample);
  if (!is_worthwhile(w, sample, codes)) return nullptr;
  const std::size_t pieces = pieces_of_band(w);
  const std::size_t bytes = pieces * kPackedBytes / kPackedRows;
  const int bands = bands_of(w);
  std::vector<std::uint8_t> is_told(static_cast<std::size_t>(bands) * pieces);
  constexpr int kTaskBands = 4;
  pool.run_parts(bands, kTaskBands, [&](std::int64_t begin, std::int64_t end) {
    for (auto b = begin; b < end; ++b) {
      const auto band = static_cast<std::size_t>(b);
      pack_band(w, static_cast<int>(b), codes,
                reinterpret_cast<std::uint8_t*>(to) + band * bytes,
                is_told.data() + band * pieces);
    }
  });
  std::unique_ptr<PackedBf16> packed(new PackedBf16(w, to));
  for (std::uint8_t code = 0; code < Codes::kCount; ++code) {
    packed->rest_.tops[code] = codes.top(code);
  }
  packed->keep(w, is_told);
  return packed;
}

void PackedBf16::keep(const WeightView& w,
                      const std::vector<std::uint8_t>& is_told) {
  const auto untold =
      static_cast<std::size_t>(std::ranges::count(is_told, std::uint8_t{0}));
  const int bands = bands_of(w);
  const auto pieces = static_cast<std::uint32_t>(pieces_of_band(w));
  first_.reserve(static_cast<std::size_t>(bands));
  untold_.reserve(untold + static_cast<std::size_t>(bands));
  values_.reserve(untold * kPackedCols);
  const auto* mark = is_told.data();
  for (int band = 0; band < bands; ++band) {
    first_.push_back(static_cast<std::uint32_t>(untold_.size()));
    for (std::uint32_t at = 0; at < pieces; ++at) {
      if (*mark++ != 0) continue;
      untold_.push_back(at);
      const int row = band * kPackedRows + static_cast<int>(at % kPackedRows);
      const auto values = row_of(w, row).subspan(
          std::size_t{at / kPackedRows} * kPackedCols, kPackedCols);
      values_.insert(values_.end(), values.begin(), values.end());
    }
    untold_.push_back(UINT32_MAX);
  }
  rest_.first = first_.data();
  rest_.untold = untold_.data();
  rest_.values = values_.data();
}

std::size_t PackedBf16::nbytes() const {
  return band_bytes(view_) + first_.size() * sizeof(first_[0]) +
         untold_.size() * sizeof(untold_[0]) +
         values_.size() * sizeof(values_[0]);
}

}  // namespace llamlx
