#include "cpu/simd/simd_avx512.h"

namespace llamlx {
namespace {

/// 16 sums and 2 vectors of keys or values, of 32 registers.
struct Shape {
  static constexpr int kRows = 8;
  static constexpr int kVectors = 2;
  static constexpr int kLocality = 3;
};

}  // namespace
}  // namespace llamlx

#include "cpu/attention/attention_tiles.inl.h"

namespace llamlx {
namespace {

/// Pairs of bf16 are multiplied as they lie.
struct Bf16Pairs {
  using Value = std::uint16_t;
  using Query = std::uint16_t;
  using Pair = __m512i;
  static constexpr int kPair = 2;
  static Pair load(const Value* p, int /*step*/) {
    return _mm512_loadu_si512(p);
  }
  static __m512 dot(const Query* two, Pair pair, __m512 sum) {
    int both;
    std::memcpy(&both, two, sizeof(both));
    return _mm512_dpbf16_ps(sum, (__m512bh)(pair),
                            (__m512bh)(_mm512_set1_epi32(both)));
  }
};

/// Rounds to bf16, to nearest, `count` floats, a multiple of 16.
void round_row(const float* from, int count, std::uint16_t* to) {
  for (int i = 0; i < count; i += 16) {
    const __m256bh rounded = _mm512_cvtneps_pbh(_mm512_loadu_ps(from + i));
    std::memcpy(to + i, &rounded, sizeof(rounded));
  }
}

struct Bf16Math {
  static constexpr int kRows = Shape::kRows;

  const KVHead& head;
  const QueryRows& rows;
  int end;
  std::uint16_t* q;  // [rows.count][padded(head_dim)]
  alignas(64) std::uint16_t rounded_weights[kRows * kBlock];

  std::ptrdiff_t query_at(std::ptrdiff_t row) const {
    return row * padded(head.head_dim);
  }
  void round_queries() {
    const int whole = round_down(head.head_dim, 16);
    for (int r = 0; r < rows.count; ++r) {
      const float* from = rows.q + r * rows.stride;
      std::uint16_t* to = q + query_at(r);
      round_row(from, whole, to);
      if (whole == head.head_dim) continue;
      float rest[16];
      Simd::store(rest, Simd::load_part(from + whole, head.head_dim - whole));
      round_row(rest, 16, to + whole);
    }
  }
  void open(int /*at*/, int /*stop*/) {}
  void score(int row, int count, Range range, float* scores) {
    score_rows(block_at<Bf16Pairs>(head, range, end), count,
               range.end - range.begin, q + query_at(row),
               padded(head.head_dim), scores);
  }
  void weigh(int row, int count, Range range, const float* weights,
             const float* factors, const AttentionPart& part) {
    for (int r = 0; r < count; ++r) {
      round_row(weights + scores_of(r), range.end - range.begin,
                rounded_weights + scores_of(r));
    }
    weigh_rows(block_at<Bf16Pairs>(head, range, end), count,
               range.end - range.begin, rounded_weights, factors,
               part.out + row * part.stride, part.stride);
  }
};

bool supports(ValueType type, int head_dim, ValueType compute) {
  return type == ValueType::bf16 && compute == ValueType::bf16 &&
         head_dim > 0 && head_dim % 2 == 0;
}

std::size_t scratch_bytes(int head_dim, int rows) {
  return sizeof(std::uint16_t) * static_cast<std::size_t>(rows) *
         static_cast<std::size_t>(padded(head_dim));
}

void attend(const KVHead& head, const QueryRows& rows, int begin, int end,
            void* scratch, const AttentionPart& part) {
  Bf16Math math{head, rows, end, static_cast<std::uint16_t*>(scratch), {}};
  math.round_queries();
  attend_by(math, rows, head.head_dim, begin, end, part);
}

}  // namespace

// From 8 rows on, as decoding is bound by memory below, and float32 is finer.
extern constinit const AttentionKernel kAttentionAvx512Bf16 = {
    "attention_avx512_bf16",
    Isa::avx512_bf16,
    8,
    supports,
    append,
    scratch_bytes,
    attend};

}  // namespace llamlx
