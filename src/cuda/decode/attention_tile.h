#pragma once

#include "cuda/attention/few_rows.h"
#include "cuda/attention/softmax.h"
#include "cuda/decode/decode.h"

namespace llamlx::cuda {

/// What a warp does with some positions at a time, for up to kDecodeQueries
/// queries of one head. Keys and values, which one warp needs once, come from
/// the cache right to where the matrix unit takes them.
///
/// Scores are queries times keys, and answers values, turned over, times
/// weights: a score's place is then its weight's. Queries and weights are two
/// numbers of 16 bits: what they are rounded to, and the rest.
template <typename T, int kDim>
class AttentionTile {
 public:
  static constexpr int kPositions = decode_positions(kDim);
  static constexpr int kScores = kPositions / 4;  // of a lane
  static constexpr float kLift = static_cast<float>(lift(T{}));

  __device__ AttentionTile(int row_bytes, int lane)
      : row_bytes_(row_bytes), g_(lane / 4), t_(lane % 4) {}

  /// Of warps that ask for nothing: registers that only some threads set would
  /// be taken from the kernel's beginning on.
  __device__ void clear() {
#pragma unroll
    for (auto& row : keys_) {
#pragma unroll
      for (auto& piece : row) piece = {};
    }
#pragma unroll
    for (auto& row : values_) {
#pragma unroll
      for (auto& piece : row) piece = {};
    }
  }
  /// Asks for the keys of positions of which `rows` is the first; those after
  /// number `last`, and elements that heads do not have, are as others.
  __device__ void ask_keys(const unsigned char* rows, int last) {
    if (row_bytes_ == kRowBytes) {
      ask_keys_of(WholeRows{}, rows, last);
    } else {
      ask_keys_of(*this, rows, last);
    }
  }
  __device__ void ask_values(const unsigned char* rows, int last) {
    if (row_bytes_ == kRowBytes) {
      ask_values_of(WholeRows{}, rows, last);
    } else {
      ask_values_of(*this, rows, last);
    }
  }
  /// Makes the position with this number, which the cache does not have yet,
  /// and what is after it, as this row in shared memory.
  __device__ void put_key(const unsigned char* row, int number) {
#pragma unroll
    for (int n = 0; n < kPositions / 8; ++n) {
      if (8 * n + g_ < number) continue;
#pragma unroll
      for (int j = 0; j < kDim / 32; ++j) keys_[n][j] = *key(row, j);
    }
  }
  __device__ void put_value(const unsigned char* row, int number) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      if (row_of(i) < number) continue;
#pragma unroll
      for (int b = 0; b < kDim / 64; ++b) values_[i][b] = *value(row, b);
    }
  }

  /// Lane 4 g + t gets query g's scores at positions 8 n + 2 t + i, in
  /// s[2 n + i]. queries [count][attention_few_stride()] in shared memory: of
  /// two elements each a word of what they are rounded to, and one of the rest.
  __device__ void score(const unsigned char* queries, int count,
                        float (&s)[kScores]) const {
    const auto* from = queries +
                       smaller(g_, count - 1) * attention_few_stride(kDim) * 4 +
                       32 * t_;
    // Two sums of each, which need not wait for each other.
    float c[2][kPositions / 8][4] = {};
#pragma unroll
    for (int step = 0; step < kDim / 16; ++step) {
      // Step 2 j + h takes elements 4 h + 0, 1, 2, 3 of each 8.
      const int h = step % 2;
      const auto a =
          *reinterpret_cast<const Words4*>(from + step / 2 * 128 + 16 * h);
#pragma unroll
      for (int n = 0; n < kPositions / 8; ++n) {
        const auto& k = keys_[n][step / 2];
        const std::uint32_t b[2] = {k.w[2 * h], k.w[2 * h + 1]};
        multiply_add(T{}, c[h][n], a.w, b);
      }
    }
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      const auto& x = c[0][i / 2];
      const auto& y = c[1][i / 2];
      s[i] = (x[i % 2] + y[i % 2]) + (x[i % 2 + 2] + y[i % 2 + 2]);
    }
  }
  /// Scores of what is after position `last` are -infinity.
  __device__ void hide(float (&s)[kScores], int last) const {
#pragma unroll
    for (int i = 0; i < kScores; ++i) {
      if (i / 2 * 8 + i % 2 + 2 * t_ > last) s[i] = -INFINITY;
    }
  }

  /// Multiplies what was summed up by each query's factor, which lanes 4 g + t
  /// have.
  __device__ void rescale(float factor) {
    if (!any_lane(factor != 1)) return;
#pragma unroll
    for (int query = 0; query < 2; ++query) {
      const float its = __shfl_sync(kAllLanes, factor, 4 * (2 * t_ + query));
#pragma unroll
      for (auto& block : out_) {
#pragma unroll
        for (auto& pair : block) {
          pair[query] *= its;
          pair[query + 2] *= its;
        }
      }
    }
  }
  /// Adds up values times weights, which are held like scores.
  __device__ void accumulate(const float (&p)[kScores]) {
#pragma unroll
    for (int i = 0; i < kPositions / 16; ++i) {
      std::uint32_t most[2];
      std::uint32_t rest[2];
#pragma unroll
      for (int n = 0; n < 2; ++n) {
        const float x = p[4 * i + 2 * n];
        const float y = p[4 * i + 2 * n + 1];
        most[n] = pack(T{}, x, y);
        rest[n] = pack_rest(T{}, x, y, most[n]);
      }
#pragma unroll
      for (int b = 0; b < kDim / 64; ++b) multiply_values(i, b, most, rest);
    }
  }
  /// What was summed up of the first `count` queries: where `quad(query, i)`
  /// says that columns from 4 i on belong.
  template <typename Quad>
  __device__ void write(int count, const Quad& quad) const {
#pragma unroll
    for (int query = 0; query < 2; ++query) {
      if (2 * t_ + query >= count) continue;
#pragma unroll
      for (int i = 0; i < kDim / 32; ++i) {
        const auto* pairs = out_[i / 2] + i % 2 * 2;
        *quad(2 * t_ + query, i / 2 * 16 + 2 * g_ + i % 2) = {
            {pairs[0][query], pairs[0][query + 2], pairs[1][query],
             pairs[1][query + 2]}};
      }
    }
  }

 private:
  static constexpr int kRows = kPositions / 4;  // of values, of a lane
  static constexpr int kRowBytes = kDim * 2;

  int row_bytes_;
  int g_;
  int t_;
  Words4 keys_[kPositions / 8][kDim / 32];
  Words4 values_[kRows][kDim / 64];
  // Of queries 2 t and 2 t + 1: columns 64 b + 8 g + 2 i in out_[b][i][0, 1],
  // and the next in [2, 3].
  float out_[kDim / 64][4][4] = {};

  /// Of a lane's rows: 2 t, 2 t + 1, 2 t + 8, 2 t + 9 of each 16.
  __device__ int row_of(int i) const {
    return i / 4 * 16 + i / 2 % 2 * 8 + i % 2 + 2 * t_;
  }
  /// Piece 4 j + t of a row of keys, and 8 b + g of values.
  __device__ const Words4* key(const unsigned char* row, int j) const {
    return piece(row, 64 * j, 16 * t_);
  }
  __device__ const Words4* value(const unsigned char* row, int b) const {
    return piece(row, 128 * b, 16 * g_);
  }
  __device__ const Words4* piece(const unsigned char* row, int first,
                                 int of_lane) const {
    return reinterpret_cast<const Words4*>(
        row + smaller(first + of_lane, row_bytes_ - 16));
  }
  /// The same where heads have all elements: constants apart from each other.
  struct WholeRows {
    static __device__ const Words4* piece(const unsigned char* row, int first,
                                          int of_lane) {
      return reinterpret_cast<const Words4*>(row + of_lane + first);
    }
  };

  template <typename Pieces>
  __device__ void ask_keys_of(const Pieces& pieces, const unsigned char* rows,
                              int last) {
#pragma unroll
    for (int n = 0; n < kPositions / 8; ++n) {
      const auto* row = rows + smaller(8 * n + g_, last) * row_bytes_;
#pragma unroll
      for (int j = 0; j < kDim / 32; ++j) {
        keys_[n][j] = load_once(pieces.piece(row, 64 * j, 16 * t_));
      }
    }
  }
  template <typename Pieces>
  __device__ void ask_values_of(const Pieces& pieces, const unsigned char* rows,
                                int last) {
#pragma unroll
    for (int i = 0; i < kRows; ++i) {
      const auto* row = rows + smaller(row_of(i), last) * row_bytes_;
#pragma unroll
      for (int b = 0; b < kDim / 64; ++b) {
        values_[i][b] = load_once(pieces.piece(row, 128 * b, 16 * g_));
      }
    }
  }

  /// Of 16 positions and 64 columns: product i is of columns 8 g + 2 i and, as
  /// rows g + 8, the next.
  __device__ void multiply_values(int sixteen, int b,
                                  const std::uint32_t (&most)[2],
                                  const std::uint32_t (&rest)[2]) {
    std::uint32_t a[4][4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int row = 4 * sixteen + 2 * half;
        const auto x = values_[row][b].w[i];
        const auto y = values_[row + 1][b].w[i];
        a[i][2 * half] = permute_bytes(x, y, 0x5410);
        a[i][2 * half + 1] = permute_bytes(x, y, 0x7632);
      }
      multiply_add(T{}, out_[b][i], a[i], most);
    }
#pragma unroll
    for (int i = 0; i < 4; ++i) multiply_add(T{}, out_[b][i], a[i], rest);
  }
};

}  // namespace llamlx::cuda
