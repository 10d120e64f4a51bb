#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

#include "base/thread_pool.h"
#include "cpu/weight_view.h"

namespace llamlx {

/// A weight of bf16 without loss in three quarters of its bytes, for kernels
/// that are bound by memory.
///
/// Of 128 pairs of neighbouring exponents nearly all values of a tensor have
/// one of eight in a row, or are zero: sign and pair become a code of 4 bits,
/// and the exponent's last bit and the fraction stay as they are. 64 columns of
/// a row that have other values too are kept as they are beside, of a model's
/// some 0.5%.
///
/// Layout   a band is four rows (those past the last are zeros), and of its
/// columns 64 at a time: first the codes of each row, 32 bytes, then its low
/// bytes, 64, so that all is read in the order in which it lies. Within a row
/// they have the order in which vectors of 16 bytes or more interleave: columns
/// 8 j + i and 32 + 8 j + i (i < 8) have the places 16 j + i and 16 j + 8 + i
/// of the low bytes; the code of place p is the low half of byte p if p < 32,
/// or else the high half of byte p - 32. Code c stands for the high byte
/// tops[c].
///
/// Example:
///     if (PackedBf16::takes(w)) {
///       auto* to = memory.reserve(PackedBf16::band_bytes(w));
///       if (auto packed = PackedBf16::pack(w, pool, to)) use(packed->view());
///     }
///
/// Threads: a packed weight never changes.
class PackedBf16 {
 public:
  /// True for bf16 in whole pieces of 64 columns.
  static bool takes(const WeightView& w);

  /// Bytes of a weight's bands.
  static std::size_t band_bytes(const WeightView& w);

  /// Packs `w`, which it takes, by all threads of `pool`. The bands are written
  /// to `to`, aligned to 64, which must outlive the result. Null, and nothing
  /// written, when codes cannot tell more than one piece of sixteen.
  /// Errors: std::bad_alloc.
  static std::unique_ptr<const PackedBf16> pack(const WeightView& w,
                                                ThreadPool& pool,
                                                std::byte* to);

  PackedBf16(const PackedBf16&) = delete;
  PackedBf16& operator=(const PackedBf16&) = delete;

  /// In the format kPackedBf16. Lives as long as this and the bands do.
  const WeightView& view() const { return view_; }

  /// Bytes of all that a product reads.
  std::size_t nbytes() const;

 private:
  PackedBf16(const WeightView& w, const std::byte* bands);

  void keep(const WeightView& w, const std::vector<std::uint8_t>& is_told);

  std::vector<std::uint32_t> first_;
  std::vector<std::uint32_t> untold_;
  std::vector<std::uint16_t> values_;
  PackedBf16Rest rest_{};
  WeightView view_;
};

}  // namespace llamlx
