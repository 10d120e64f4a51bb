#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <span>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/cached_rows.h"
#include "cuda/intrinsics.h"
#include "cuda/segment.h"

/// Attention in float64, to compare kernels with.

namespace llamlx::cuda::testing {

using Floats = std::vector<float>;
using Doubles = std::vector<double>;

inline constexpr double kUnit = 0x1p-24;  // rounding of float32, relative

/// Rounding of a type, relative.
inline double unit(NumberType type) {
  return type == NumberType::f32   ? kUnit
         : type == NumberType::f16 ? 0x1p-11
                                   : 0x1p-8;
}

/// As names of kernels have it.
inline std::string type_name(NumberType type) {
  return type == NumberType::f32   ? "f32"
         : type == NumberType::f16 ? "f16"
         : type == NumberType::q8  ? "q8"
                                   : "bf16";
}

inline void store(NumberType type, float x, unsigned char* to) {
  const std::uint16_t half =
      type == NumberType::f16 ? emulator::to_f16(x) : emulator::to_bf16(x);
  if (type == NumberType::f32) {
    std::memcpy(to, &x, sizeof x);
  } else {
    std::memcpy(to, &half, sizeof half);
  }
}

inline float load(NumberType type, const unsigned char* from) {
  float x;
  std::uint16_t half;
  if (type == NumberType::f32) {
    std::memcpy(&x, from, sizeof x);
    return x;
  }
  std::memcpy(&half, from, sizeof half);
  return type == NumberType::f16 ? emulator::from_f16(half)
                                 : emulator::from_bf16(half);
}

/// A row of a cache; if its numbers have 8 bits, its scales too.
inline void store_row(NumberType type, const float* x, int count,
                      unsigned char* to, unsigned char* scales) {
  if (type != NumberType::q8) {
    for (int i = 0; i < count; ++i) {
      store(type, x[i], to + i * cached_number_bytes(type));
    }
    return;
  }
  for (int first = 0; first < count; first += kCacheGroup) {
    const int end = std::min(count, first + kCacheGroup);
    float largest = 0;
    for (int i = first; i < end; ++i) {
      largest = std::max(largest, std::abs(x[i]));
    }
    const float scale = largest / 127;
    for (int i = first; i < end; ++i) {
      to[i] = static_cast<unsigned char>(
          static_cast<int>(std::nearbyint(x[i] / scale)));
    }
    store(NumberType::f32, scale,
          scales + sizeof(float) * (first / kCacheGroup));
  }
}

inline Floats random_floats(int n, unsigned seed, float most) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> draw(-most, most);
  Floats x(static_cast<std::size_t>(n));
  for (auto& value : x) value = draw(random);
  return x;
}

struct Stretch {
  int offset;
  int length;
};

/// What a model and its pass are like.
struct Setting {
  NumberType type = NumberType::f16;        ///< of caches
  NumberType short_type = NumberType::f16;  ///< of queries, if that has 8 bits
  int heads = 4;
  int kv_heads = 1;
  int dim = 64;
  int window = 0;
  bool traditional = false;
  bool has_norms = false;
  std::vector<Stretch> segments;

  int group() const { return heads / kv_heads; }
  NumberType query_type() const {
    return type == NumberType::q8 ? short_type : type;
  }
  int rows() const {
    int n = 0;
    for (const auto& s : segments) n += s.length;
    return n;
  }
};

/// A pass of one layer: its inputs, and caches in which only positions before
/// each segment's are numbers.
struct Pass {
  static constexpr int kLayer = 1;
  static constexpr float kEps = 1e-5F;
  static constexpr int kSpare = 3;  // positions of cache behind the new ones

  Setting set;
  Floats qkv, q_norm, k_norm, cos_sin, out;
  std::vector<std::vector<unsigned char>> caches;
  std::vector<Words4> views;  // SegmentView, aligned

  explicit Pass(const Setting& s)
      : set(s),
        qkv(random_floats(s.rows() * (s.heads + 2 * s.kv_heads) * s.dim, 1, 2)),
        q_norm(random_floats(s.dim, 2, 2)),
        k_norm(random_floats(s.dim, 3, 2)),
        out(static_cast<std::size_t>(s.rows() * s.heads * s.dim),
            std::numeric_limits<float>::quiet_NaN()),
        views(2 * s.segments.size()) {
    int first_row = 0;
    for (std::size_t i = 0; i < s.segments.size(); ++i) {
      add_segment(i, first_row);
      first_row += s.segments[i].length;
    }
  }

  const SegmentView* segments() const {
    return reinterpret_cast<const SegmentView*>(views.data());
  }
  SegmentView* segments() {
    return reinterpret_cast<SegmentView*>(views.data());
  }
  /// Byte of a position's numbers: `kind` 0 is keys, 1 values.
  std::size_t at(std::size_t segment, int layer, int kind, int head,
                 int position) const {
    const auto& view = segments()[segment];
    return layer * view.layer_bytes +
           static_cast<std::size_t>(kind * set.kv_heads + head) *
               static_cast<std::size_t>(
                   cached_head_bytes(set.type, set.dim, view.capacity)) +
           static_cast<std::size_t>(position) *
               static_cast<std::size_t>(cached_row_bytes(set.type, set.dim));
  }
  /// Of its scales, if they have 8 bits.
  std::size_t scales_at(std::size_t segment, int kind, int head,
                        int position) const {
    return at(segment, kLayer, kind, head, segments()[segment].capacity) +
           static_cast<std::size_t>(position) * scale_bytes();
  }
  std::size_t scale_bytes() const {
    return sizeof(float) *
           static_cast<std::size_t>(cached_row_scales(set.type, set.dim));
  }
  double cached(std::size_t segment, int kind, int head, int position,
                int i) const {
    const auto* row =
        &caches[segment][at(segment, kLayer, kind, head, position)];
    if (set.type != NumberType::q8) {
      return load(set.type, row + i * cached_number_bytes(set.type));
    }
    return static_cast<double>(scale(segment, kind, head, position, i)) *
           static_cast<signed char>(row[i]);
  }
  /// Of element i.
  float scale(std::size_t segment, int kind, int head, int position,
              int i) const {
    return load(NumberType::f32,
                &caches[segment][scales_at(segment, kind, head, position) +
                                 sizeof(float) * (i / kCacheGroup)]);
  }

 private:
  void add_segment(std::size_t i, int first_row) {
    const auto [offset, length] = set.segments[i];
    const int capacity = offset + length + kSpare;
    const auto layer_bytes = 2 * static_cast<std::size_t>(set.kv_heads) *
                             static_cast<std::size_t>(cached_head_bytes(
                                 set.type, set.dim, capacity));
    caches.emplace_back((kLayer + 1) * layer_bytes, 0xff);  // NaN
    auto& cache = caches.back();
    segments()[i] = {cache.data(), layer_bytes, capacity,
                     offset,       first_row,   length};
    const auto seed = static_cast<unsigned>(i);
    const auto old =
        random_floats(2 * set.kv_heads * offset * set.dim, 10 + seed, 2);
    const float* from = old.data();
    for (int kind = 0; kind < 2; ++kind) {
      for (int head = 0; head < set.kv_heads; ++head) {
        for (int position = 0; position < offset; ++position) {
          store_row(set.type, from, set.dim,
                    &cache[at(i, kLayer, kind, head, position)],
                    cache.data() + scales_at(i, kind, head, position));
          from += set.dim;
        }
      }
    }
    // Angles of any size: every row has its own.
    const auto angles = random_floats(length * set.dim / 2, 20 + seed, 3);
    for (int row = 0; row < length; ++row) {
      for (int sine = 0; sine < 2; ++sine) {
        for (int n = 0; n < set.dim / 2; ++n) {
          const float angle =
              angles[static_cast<std::size_t>(row * set.dim / 2 + n)];
          cos_sin.push_back(sine == 0 ? std::cos(angle) : std::sin(angle));
        }
      }
    }
  }
};

/// Attention of one pass in float64, from what is in its caches.
class Reference {
 public:
  explicit Reference(const Pass& pass) : pass_(pass), set_(pass.set) {}

  /// Head `head` of queries and keys together, normed and turned.
  Doubles turned(int row, int head) const {
    auto x = projected(row, head);
    const bool is_query = head < set_.heads;
    if (set_.has_norms) norm(x, is_query ? pass_.q_norm : pass_.k_norm);
    const int half = set_.dim / 2;
    for (int i = 0; i < half; ++i) {
      auto& a = x[index(set_.traditional ? 2 * i : i)];
      auto& b = x[index(set_.traditional ? 2 * i + 1 : i + half)];
      const double cos = pass_.cos_sin[index(row * set_.dim + i)];
      const double sin = pass_.cos_sin[index(row * set_.dim + half + i)];
      const double first = a;
      a = first * cos - b * sin;
      b = b * cos + first * sin;
    }
    return x;
  }
  Doubles projected(int row, int head) const {
    const int heads = set_.heads + 2 * set_.kv_heads;
    const auto* from = &pass_.qkv[index((row * heads + head) * set_.dim)];
    return {from, from + set_.dim};
  }

  /// A query of the pass, scaled so that scores are logarithms to the base 2.
  Doubles scaled_query(int row, int head) const {
    auto q = turned(row, head);
    for (auto& x : q) x *= 1.4426950408889634 / std::sqrt(set_.dim);
    return q;
  }

  /// How much kernels round, relative.
  struct Rounding {
    double queries;
    double weights;
  };
  /// An answer, and how far a kernel may be from it.
  struct Answer {
    Doubles out;
    double tolerance;
  };
  Answer answer(std::size_t segment, int row, int head, const Doubles& q,
                Rounding rounding) const {
    const int at = pass_.segments()[segment].offset + row;
    const int first = set_.window > 0 ? std::max(0, at - set_.window + 1) : 0;
    const int kv_head = head / set_.group();
    Doubles scores;
    double largest = -std::numeric_limits<double>::infinity();
    double size = 0;  // of the terms of a score
    for (int p = first; p <= at; ++p) {
      double sum = 0;
      double terms = 0;
      for (int i = 0; i < set_.dim; ++i) {
        const double term =
            q[index(i)] * pass_.cached(segment, 0, kv_head, p, i);
        sum += term;
        terms += std::abs(term);
      }
      scores.push_back(sum);
      largest = std::max(largest, sum);
      size = std::max(size, terms);
    }
    double total = 0;
    double most = 0;  // of the values
    Answer answer{Doubles(index(set_.dim), 0.0), 0};
    for (int p = first; p <= at; ++p) {
      const double weight = std::exp2(scores[index(p - first)] - largest);
      total += weight;
      for (int i = 0; i < set_.dim; ++i) {
        const double value = pass_.cached(segment, 1, kv_head, p, i);
        answer.out[index(i)] += weight * value;
        most = std::max(most, std::abs(value));
      }
    }
    for (auto& x : answer.out) x /= total;
    // A score sums up `dim` terms, each rounded as its query was, and is good
    // to a unit of its own size where it is subtracted from the largest. A
    // weight is off by that (ln 2 < 1), by its exponential's 4 units and by its
    // own rounding, and in the divisor again without the last. Sums over
    // positions have chains of an addition for every 16, and of warps and
    // splits.
    const double score = size * (rounding.queries + (set_.dim + 2) * kUnit);
    const double sums = ((at + 1 - first) / 16 + 32) * kUnit;
    answer.tolerance =
        most * (2 * (score + 4 * kUnit) + rounding.weights + sums);
    return answer;
  }

  static std::size_t index(int i) { return static_cast<std::size_t>(i); }

 private:
  const Pass& pass_;
  const Setting& set_;

  void norm(Doubles& x, const Floats& weight) const {
    double squares = 0;
    for (const double v : x) squares += v * v;
    const double by = 1 / std::sqrt(squares / set_.dim + Pass::kEps);
    for (std::size_t i = 0; i < x.size(); ++i) x[i] *= by * weight[i];
  }
};

inline double largest_of(std::span<const double> x) {
  double largest = 0;
  for (const double value : x) largest = std::max(largest, std::abs(value));
  return largest;
}

/// Whether a cached row is what `want` is rounded to, which is good to `slack`.
inline void expect_cached(const Pass& pass, std::size_t segment, int kind,
                          int head, int position, const Doubles& want,
                          double slack) {
  const auto type = pass.set.type;
  slack += 0x1p-25;
  for (std::size_t i = 0; i < want.size(); ++i) {
    const auto element = static_cast<int>(i);
    double rounding = unit(type) * std::abs(want[i]);
    if (type == NumberType::q8) {
      const auto first = i / kCacheGroup * kCacheGroup;
      const auto count =
          std::min<std::size_t>(want.size() - first, kCacheGroup);
      const double scale =
          largest_of(std::span(want).subspan(first, count)) / 127;
      EXPECT_NEAR(pass.scale(segment, kind, head, position, element), scale,
                  2 * kUnit * scale + slack);
      rounding = scale / 2 + 256 * kUnit * scale;
    }
    EXPECT_NEAR(pass.cached(segment, kind, head, position, element), want[i],
                rounding + slack);
  }
}

/// Whether the pass appended its keys and values where they belong, and touched
/// nothing else: `before` are the caches it got.
inline void expect_appended(
    const Pass& pass, const std::vector<std::vector<unsigned char>>& before) {
  const auto& set = pass.set;
  const Reference reference(pass);
  auto untouched = pass.caches;
  for (std::size_t s = 0; s < set.segments.size(); ++s) {
    const auto& view = pass.segments()[s];
    for (int row = 0; row < view.length; ++row) {
      for (int head = 0; head < set.kv_heads; ++head) {
        const auto key =
            reference.turned(view.first_row + row, set.heads + head);
        const auto value = reference.projected(view.first_row + row,
                                               set.heads + set.kv_heads + head);
        const int position = view.offset + row;
        const double slack = 32 * kUnit * largest_of(key);
        expect_cached(pass, s, 0, head, position, key, slack);
        expect_cached(pass, s, 1, head, position, value, 0);
        for (int kind = 0; kind < 2; ++kind) {
          const auto forget = [&](std::size_t at, std::size_t bytes) {
            std::fill_n(untouched[s].data() + at, bytes, 0xff);
          };
          forget(pass.at(s, Pass::kLayer, kind, head, position),
                 static_cast<std::size_t>(set.dim *
                                          cached_number_bytes(set.type)));
          forget(pass.scales_at(s, kind, head, position), pass.scale_bytes());
        }
      }
    }
  }
  EXPECT_EQ(untouched, before) << "something else of a cache was written";
}

/// Whether the pass has the right answers to the queries that `query(row,
/// head)` gives.
template <typename Query>
void expect_near_reference(const Pass& pass, const Query& query,
                           Reference::Rounding rounding) {
  const auto& set = pass.set;
  const Reference reference(pass);
  for (std::size_t s = 0; s < set.segments.size(); ++s) {
    const auto& view = pass.segments()[s];
    for (int row = 0; row < view.length; ++row) {
      for (int head = 0; head < set.heads; ++head) {
        const int pass_row = view.first_row + row;
        const auto want =
            reference.answer(s, row, head, query(pass_row, head), rounding);
        const int at = (pass_row * set.heads + head) * set.dim;
        for (int i = 0; i < set.dim; ++i) {
          const double got = pass.out[Reference::index(at + i)];
          const double off = std::abs(got - want.out[Reference::index(i)]);
          if (!(off <= want.tolerance)) {
            FAIL() << "segment " << s << " row " << row << " head " << head
                   << " element " << i << ": " << got << ", not "
                   << want.out[Reference::index(i)] << " within "
                   << want.tolerance;
          }
        }
      }
    }
  }
}

}  // namespace llamlx::cuda::testing
