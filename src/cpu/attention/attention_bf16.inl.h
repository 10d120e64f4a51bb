#pragma once

// Attention by products of pairs of bf16, queries and weights rounded to it;
// over struct Simd and struct Shape, as attention_tiles.inl.h, which the file
// that includes this one has included before, with
//   Bf16Pairs   a cache (attention.inl.h) of pairs multiplied as they lie
//   round_row(from, count, to)   rounds to bf16, to nearest, `count` floats, a
//               multiple of 16

namespace llamlx {
namespace {

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
      for (int i = 0; i < 16; i += Simd::kLanes) {
        Simd::store(rest + i, Simd::load_part(from + whole + i,
                                              head.head_dim - whole - i));
      }
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

inline bool supports(ValueType type, int head_dim, ValueType compute) {
  return type == ValueType::bf16 && compute == ValueType::bf16 &&
         head_dim > 0 && head_dim % 2 == 0;
}

inline std::size_t scratch_bytes(int head_dim, int rows) {
  return sizeof(std::uint16_t) * static_cast<std::size_t>(rows) *
         static_cast<std::size_t>(padded(head_dim));
}

inline void attend(const KVHead& head, const QueryRows& rows, int begin,
                   int end, void* scratch, const AttentionPart& part) {
  Bf16Math math{head, rows, end, static_cast<std::uint16_t*>(scratch), {}};
  math.round_queries();
  attend_by(math, rows, head.head_dim, begin, end, part);
}

// From 8 rows on, as decoding is bound by memory below, and float32 is finer.
constexpr AttentionKernel kernel_named(std::string_view name, Isa isa) {
  return {name, isa, 8, supports, append, scratch_bytes, attend};
}

}  // namespace
}  // namespace llamlx
