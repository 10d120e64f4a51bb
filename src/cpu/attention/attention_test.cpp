#include "cpu/attention/attention.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/concat.h"
#include "cpu/matmul/matmul_testing.h"
#include "cpu/vector/vector.h"

namespace llamlx {

extern const AttentionKernel
    kAttentionAmxEmulated;  // attention_emulation_test.cpp

namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr double kRounding = 0x1p-24;     // of float32, relative
constexpr double kBf16Rounding = 0x1p-9;  // of bf16

using Floats = std::vector<float>;

std::size_t size(int n) { return static_cast<std::size_t>(n); }

Floats random_floats(int n, unsigned seed, float most = 1) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> draw(-most, most);
  Floats x(size(n));
  for (auto& value : x) value = draw(random);
  return x;
}

/// What is left of numbers that went through a type.
Floats rounded(const Floats& x, ValueType type) {
  std::vector<std::uint32_t> stored(x.size());
  Floats out(x.size());
  const int n = static_cast<int>(x.size());
  vector_kernels().round_to(x.data(), n, type, stored.data());
  vector_kernels().to_float(stored.data(), type, n, out.data());
  return out;
}

/// Memory aligned to 64 bytes, of zeros, beyond which nothing may be touched.
struct Memory : testing::GuardedMemory {
  explicit Memory(std::size_t bytes) : GuardedMemory(bytes, 64) {
    std::memset(data(), 0, size());
  }
};

/// Query rows, and the keys and values of one head [capacity, head_dim].
struct Case {
  ValueType type;
  int head_dim;
  int rows;
  int capacity;
  Floats q, k, v;
  std::vector<int> first, end;

  Case(ValueType type_, int head_dim_, int rows_, int capacity_,
       float most_q = 1)
      : type(type_),
        head_dim(head_dim_),
        rows(rows_),
        capacity(capacity_),
        q(random_floats(rows_ * head_dim_, 1, most_q)),
        k(random_floats(capacity_ * head_dim_, 2)),
        v(random_floats(capacity_ * head_dim_, 3)),
        first(size(rows_), 0),
        end(size(rows_), capacity_) {}

  /// Two rows a position, the last of which is the last of `length`.
  void be_causal(int length) {
    for (int r = 0; r < rows; ++r) {
      end[size(r)] = std::max(0, length - (rows - 1 - r) / 2);
    }
  }
};

struct Answer {
  Floats out, largest, sum;
  explicit Answer(const Case& c)
      : out(size(c.rows * c.head_dim), kNan),
        largest(size(c.rows), kNan),
        sum(size(c.rows), kNan) {}
};

/// The cache of a case, filled by append() in uneven pieces.
struct Cache {
  Memory keys, values;
  KVHead head;

  Cache(const AttentionKernel& kernel, const Case& c)
      : keys(kv_keys_bytes(c.type, c.head_dim, c.capacity)),
        values(kv_values_bytes(c.type, c.head_dim, c.capacity)),
        head{c.type, c.head_dim, c.capacity, keys.data(), values.data()} {
    for (int at = 0, piece = 1; at < c.capacity; at += piece, piece += 3) {
      piece = std::min(piece, c.capacity - at);
      kernel.append(head, at, piece, c.k.data() + at * c.head_dim,
                    c.v.data() + at * c.head_dim, c.head_dim);
    }
  }
};

Answer attend(const AttentionKernel& kernel, const Case& c, Cache& cache,
              int begin, int end) {
  Answer answer(c);
  Memory scratch(kernel.scratch_bytes(c.head_dim, c.rows));
  kernel.attend(cache.head,
                {c.q.data(), c.head_dim, c.rows, c.first.data(), c.end.data()},
                begin, end, scratch.data(),
                {answer.out.data(), c.head_dim, answer.largest.data(),
                 answer.sum.data()});
  return answer;
}

/// The divided sums of parts.
Floats joined(const Case& c, const std::vector<Answer>& parts) {
  Floats part_out, largest, sum;
  for (const auto& part : parts) {
    part_out.insert(part_out.end(), part.out.begin(), part.out.end());
    largest.insert(largest.end(), part.largest.begin(), part.largest.end());
    sum.insert(sum.end(), part.sum.begin(), part.sum.end());
  }
  Floats out(size(c.rows * c.head_dim));
  for (int r = 0; r < c.rows; ++r) {
    join_attention(part_out.data() + r * c.head_dim, c.rows * c.head_dim,
                   largest.data() + r, sum.data() + r, c.rows,
                   static_cast<int>(parts.size()), c.head_dim,
                   out.data() + r * c.head_dim);
  }
  return out;
}

/// Compares with a computation in float64 from the rounded keys and values.
void expect_near_reference(const AttentionKernel& kernel, const Case& c,
                           const Floats& out, ValueType compute) {
  const Floats k = rounded(c.k, c.type);
  const Floats v = rounded(c.v, c.type);
  const bool coarse = compute == ValueType::bf16 && kernel.min_rows > 1;
  for (int r = 0; r < c.rows; ++r) {
    std::vector<double> scores;
    double size_of_products = 0;
    const int first = std::max(0, c.first[size(r)]);
    const int end = c.end[size(r)];
    for (int j = first; j < end; ++j) {
      double score = 0;
      double products = 0;
      for (int d = 0; d < c.head_dim; ++d) {
        const double product =
            static_cast<double>(c.q[size(r * c.head_dim + d)]) *
            k[size(j * c.head_dim + d)];
        score += product;
        products += std::abs(product);
      }
      scores.push_back(score);
      size_of_products = std::max(size_of_products, products);
    }
    const double largest =
        scores.empty() ? 0 : *std::ranges::max_element(scores);
    double sum = 0;
    std::vector<double> expected(size(c.head_dim));
    std::vector<double> sizes(size(c.head_dim));
    for (int j = first; j < end; ++j) {
      const double weight = std::exp(scores[size(j - first)] - largest);
      sum += weight;
      for (int d = 0; d < c.head_dim; ++d) {
        const double term = weight * v[size(j * c.head_dim + d)];
        expected[size(d)] += term;
        sizes[size(d)] += std::abs(term);
      }
    }
    // Of a weight, relative: the error of its score (head_dim products and
    // sums, q rounded to bf16), of the difference from the largest, exp; where
    // it is rounded to bf16, that too. An average of values errs by twice the
    // error of its weights, and by its own additions, one a position.
    const double range = 2 * size_of_products;
    const double score_error =
        size_of_products *
        ((c.head_dim + 1) * kRounding + (coarse ? kBf16Rounding : 0));
    const double weight_error =
        score_error + (range + 6) * kRounding + (coarse ? kBf16Rounding : 0);
    const double additions = (end - first + 8) * kRounding;
    for (int d = 0; d < c.head_dim; ++d) {
      const double want = sum == 0 ? 0 : expected[size(d)] / sum;
      const double bound =
          sum == 0 ? 0 : (2 * weight_error + additions) * sizes[size(d)] / sum;
      ASSERT_NEAR(out[size(r * c.head_dim + d)], want, bound)
          << kernel.name << " row " << r << " element " << d << " of "
          << c.head_dim << ", " << c.rows << " rows";
    }
  }
}

constexpr ValueType kTypes[] = {ValueType::f32, ValueType::f16,
                                ValueType::bf16};
constexpr int kHeadDims[] = {8, 20, 64, 80, 128};
constexpr int kRowCounts[] = {1, 2, 3, 8, 9, 64, 100};

class AttentionTest : public ::testing::TestWithParam<const AttentionKernel*> {
 protected:
  void SetUp() override {
    if (!is_supported(kernel().isa)) {
      GTEST_SKIP() << "this machine has no " << to_string(kernel().isa);
    }
  }
  const AttentionKernel& kernel() { return *GetParam(); }

  /// Of operands; the coarsest that the kernel was made for.
  ValueType compute() {
    return kernel().min_rows > 1 ? ValueType::bf16 : ValueType::f32;
  }

  /// Calls `check` with cases of every type, size of heads and count of rows
  /// that the kernel supports.
  template <typename Check>
  void for_each_case(int capacity, Check check) {
    int cases = 0;
    for (const auto type : kTypes) {
      for (const int head_dim : kHeadDims) {
        if (!kernel().supports(type, head_dim, compute())) continue;
        for (const int rows : kRowCounts) {
          Case c(type, head_dim, rows, capacity);
          check(c);
          ++cases;
          if (HasFatalFailure()) return;
        }
      }
    }
    EXPECT_GT(cases, 0);
  }
};

std::vector<const AttentionKernel*> kernels_to_try() {
  auto kernels = all_attention_kernels();
  kernels.push_back(&kAttentionAmxEmulated);
  return kernels;
}

INSTANTIATE_TEST_SUITE_P(Kernels, AttentionTest,
                         ::testing::ValuesIn(kernels_to_try()),
                         [](const auto& test) {
                           return std::string(test.param->name);
                         });

TEST_P(AttentionTest, MatchesTheReferenceOverWholeRanges) {
  for_each_case(208, [&](Case& c) {
    c.be_causal(203);
    Cache cache(kernel(), c);
    const auto out = joined(c, {attend(kernel(), c, cache, 0, 203)});
    expect_near_reference(kernel(), c, out, compute());
  });
}

TEST_P(AttentionTest, MatchesTheReferenceInJoinedParts) {
  for_each_case(208, [&](Case& c) {
    c.be_causal(205);
    Cache cache(kernel(), c);
    const auto out = joined(c, {attend(kernel(), c, cache, 0, 16),
                                attend(kernel(), c, cache, 16, 160),
                                attend(kernel(), c, cache, 160, 208)});
    expect_near_reference(kernel(), c, out, compute());
  });
}

TEST_P(AttentionTest, MatchesTheReferenceInWindows) {
  for_each_case(208, [&](Case& c) {
    c.be_causal(190);
    for (int r = 0; r < c.rows; ++r) {
      c.first[size(r)] = c.end[size(r)] - 1 - r * 7 % 150;
    }
    Cache cache(kernel(), c);
    const auto out = joined(c, {attend(kernel(), c, cache, 0, 128),
                                attend(kernel(), c, cache, 128, 190)});
    expect_near_reference(kernel(), c, out, compute());
  });
}

TEST_P(AttentionTest, MatchesTheReferenceAtDepth) {
  for (const int rows : {1, 9, 33}) {
    Case c(ValueType::bf16, 64, rows, 3008);
    if (!kernel().supports(c.type, c.head_dim, compute())) continue;
    c.be_causal(3001);
    Cache cache(kernel(), c);
    const auto out = joined(c, {attend(kernel(), c, cache, 0, 3001)});
    expect_near_reference(kernel(), c, out, compute());
  }
}

TEST_P(AttentionTest, MatchesTheReferenceWhereScoresAreFarApart) {
  // Scores up to about 500, so that most weights vanish.
  for (const auto type : kTypes) {
    if (!kernel().supports(type, 64, compute())) continue;
    Case c(type, 64, 10, 208, 30);
    if (compute() == ValueType::bf16) c.q = rounded(c.q, ValueType::bf16);
    Cache cache(kernel(), c);
    const auto out = joined(c, {attend(kernel(), c, cache, 0, 208)});
    expect_near_reference(kernel(), c, out, compute());
  }
}

TEST_P(AttentionTest, LeavesRowsThatSeeNothingEmpty) {
  for_each_case(64, [&](Case& c) {
    for (int r = 0; r < c.rows; r += 2) {
      c.first[size(r)] = r % 4 == 0 ? 20 : 48;
      c.end[size(r)] = r % 4 == 0 ? 20 : 64;
    }
    Cache cache(kernel(), c);
    const auto part = attend(kernel(), c, cache, 16, 48);
    for (int r = 0; r < c.rows; r += 2) {
      EXPECT_EQ(part.largest[size(r)], -kInfinity);
      EXPECT_EQ(part.sum[size(r)], 0);
      for (int d = 0; d < c.head_dim; ++d) {
        ASSERT_EQ(part.out[size(r * c.head_dim + d)], 0);
      }
    }
    for (const float value : joined(c, {part})) {
      ASSERT_FALSE(std::isnan(value));
    }
  });
}

TEST_P(AttentionTest, GivesARowTheSameBitsAgainAndAmongOthers) {
  for_each_case(208, [&](Case& c) {
    c.be_causal(203);
    Cache cache(kernel(), c);
    const auto all = attend(kernel(), c, cache, 0, 203);
    const auto again = attend(kernel(), c, cache, 0, 203);
    EXPECT_EQ(all.out, again.out);
    EXPECT_EQ(all.sum, again.sum);
    const int last = c.rows - 1;
    Case alone(c.type, c.head_dim, 1, c.capacity);
    alone.q.assign(c.q.end() - c.head_dim, c.q.end());
    alone.end[0] = c.end[size(last)];
    const auto one = attend(kernel(), alone, cache, 0, 203);
    EXPECT_EQ(one.out, Floats(all.out.end() - c.head_dim, all.out.end()));
    EXPECT_EQ(one.sum[0], all.sum[size(last)]);
    EXPECT_EQ(one.largest[0], all.largest[size(last)]);
  });
}

TEST_P(AttentionTest, GivesPositionsBeyondTheEndNoWeight) {
  for_each_case(64, [&](Case& c) {
    c.be_causal(37);
    Cache cache(kernel(), c);
    const auto before = attend(kernel(), c, cache, 0, 37);
    Case other = c;
    std::fill(other.k.begin() + 37 * c.head_dim, other.k.end(), 60000.0f);
    std::fill(other.v.begin() + 37 * c.head_dim, other.v.end(), -60000.0f);
    Cache filled(kernel(), other);
    const auto after = attend(kernel(), c, filled, 0, 37);
    EXPECT_EQ(before.out, after.out);
    EXPECT_EQ(before.sum, after.sum);
  });
}

TEST_P(AttentionTest, ShowsNan) {
  for_each_case(208, [&](Case& c) {
    const auto count_nan = [&](const Case& poisoned) {
      Cache cache(kernel(), poisoned);
      const auto is_nan = [](float x) { return std::isnan(x); };
      const auto whole = joined(c, {attend(kernel(), poisoned, cache, 0, 208)});
      const auto parts =
          joined(c, {attend(kernel(), poisoned, cache, 0, 128),
                     attend(kernel(), poisoned, cache, 128, 208)});
      const auto count = std::ranges::count_if(parts, is_nan);
      EXPECT_EQ(std::ranges::count_if(whole, is_nan), count);
      return count;
    };
    Case q = c;
    q.q[size((c.rows - 1) * c.head_dim + 1)] = kNan;
    EXPECT_EQ(count_nan(q), c.head_dim);
    Case k = c;
    k.k[size(150 * c.head_dim + c.head_dim - 1)] = kNan;
    EXPECT_EQ(count_nan(k), c.rows * c.head_dim);
    Case v = c;
    v.v[size(9 * c.head_dim + c.head_dim - 1)] = kNan;
    EXPECT_EQ(count_nan(v), c.rows);
  });
}

TEST(AttentionAppend, IsTheSameOfEveryKernel) {
  for (const auto type : kTypes) {
    for (const int head_dim : {8, 20, 64}) {
      Case c(type, head_dim, 1, 48);
      const AttentionKernel& plain = *all_attention_kernels().front();
      Cache expected(plain, c);
      for (const auto* kernel : all_attention_kernels()) {
        if (!is_supported(kernel->isa)) continue;
        Cache cache(*kernel, c);
        const auto bytes_of = [](void* p, std::size_t count) {
          const char* bytes = static_cast<const char*>(p);
          return std::string(bytes, bytes + count);
        };
        const auto keys = kv_keys_bytes(type, head_dim, 48);
        const auto values = kv_values_bytes(type, head_dim, 48);
        EXPECT_EQ(bytes_of(cache.head.keys, keys),
                  bytes_of(expected.head.keys, keys));
        EXPECT_EQ(bytes_of(cache.head.values, values),
                  bytes_of(expected.head.values, values));
      }
    }
  }
}

TEST(AttentionAppend, LaysPositionsAsTheHeaderSays) {
  Case c(ValueType::f32, 20, 1, 48);
  Cache cache(*all_attention_kernels().front(), c);
  const auto* keys = static_cast<const float*>(cache.head.keys);
  const auto* values = static_cast<const float*>(cache.head.values);
  for (int j = 0; j < 48; ++j) {
    for (int d = 0; d < 20; ++d) {
      EXPECT_EQ(keys[j / 16 * 20 * 16 + d * 16 + j % 16],
                c.k[size(j * 20 + d)]);
      EXPECT_EQ(values[j * 32 + d], c.v[size(j * 20 + d)]);
    }
    for (int d = 20; d < 32; ++d) EXPECT_EQ(values[j * 32 + d], 0);
  }
  Case pairs(ValueType::bf16, 20, 1, 48);
  Cache paired(*all_attention_kernels().front(), pairs);
  const auto k = rounded(pairs.k, ValueType::bf16);
  const auto v = rounded(pairs.v, ValueType::bf16);
  const auto value_at = [](const void* p, int at) {
    float value;
    vector_kernels().to_float(static_cast<const std::uint16_t*>(p) + at,
                              ValueType::bf16, 1, &value);
    return value;
  };
  for (int j = 0; j < 48; ++j) {
    for (int d = 0; d < 20; ++d) {
      EXPECT_EQ(value_at(paired.head.keys,
                         j / 16 * 320 + d / 2 * 32 + j % 16 * 2 + d % 2),
                k[size(j * 20 + d)]);
      EXPECT_EQ(value_at(paired.head.values, j / 2 * 64 + d * 2 + j % 2),
                v[size(j * 20 + d)]);
    }
  }
}

TEST(AttentionPartLength, GrowsWithThePositionsInWholeBlocks) {
  EXPECT_EQ(attention_part_length(0), 256);
  EXPECT_EQ(attention_part_length(2048), 256);
  EXPECT_EQ(attention_part_length(4097), 512);
  EXPECT_EQ(attention_part_length(4113), 528);
  EXPECT_EQ(attention_part_length(1 << 20), 1024);
}

TEST(AttentionKernels, AreProvedAndUpToTheActiveInstructionSet) {
  for (const auto type : kTypes) {
    for (const auto compute : kTypes) {
      for (const int rows : {1, 8, 64}) {
        const auto& kernel = attention_kernel(type, 64, compute, rows);
        EXPECT_LE(kernel.isa, active_isa());
        EXPECT_LE(kernel.min_rows, rows);
        EXPECT_TRUE(kernel.supports(type, 64, compute));
        if (active_isa() != Isa::scalar) {
          EXPECT_NE(kernel.isa, Isa::scalar);
        }
      }
    }
  }
  EXPECT_THROW(attention_kernel(ValueType::f32, 7, ValueType::f32, 1),
               std::invalid_argument);
}

}  // namespace
}  // namespace llamlx
