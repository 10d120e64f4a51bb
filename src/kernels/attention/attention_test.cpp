#include "kernels/attention/attention.h"

#include <algorithm>
#include <cmath>

#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

namespace llamlx {
namespace {

constexpr int kHeads = 4;
constexpr int kKvHeads = 2;
constexpr int kHeadDim = 8;
constexpr int kTokens = 13;

mx::array random(const mx::Shape& shape, int seed) {
  return mx::random::normal(shape, mx::float32, 0, 1, mx::random::key(seed));
}

const mx::array& queries() {
  static const auto q = random({kTokens, kHeads, kHeadDim}, 1);
  return q;
}

const mx::array& keys() {
  static const auto k = random({1, kKvHeads, kTokens, kHeadDim}, 2);
  return k;
}

const mx::array& values() {
  static const auto v = random({1, kKvHeads, kTokens, kHeadDim}, 3);
  return v;
}

/// What one head of the row at `position` sees, term by term in float64.
std::vector<double> expected(int position, int head, int window) {
  const auto at = [](const mx::array& x, std::size_t i) {
    return double{x.data<float>()[i]};
  };
  const auto row = [&](int kv_position) {
    return (head * kKvHeads / kHeads * kTokens + kv_position) * kHeadDim;
  };
  const int first = window == 0 ? 0 : std::max(0, position - window + 1);
  std::vector<double> sum(kHeadDim);
  double weights = 0;
  for (int j = first; j <= position; ++j) {
    double score = 0;
    for (int i = 0; i < kHeadDim; ++i) {
      score += at(queries(), (position * kHeads + head) * kHeadDim + i) *
               at(keys(), row(j) + i);
    }
    const double weight = std::exp(score / std::sqrt(double{kHeadDim}));
    weights += weight;
    for (int i = 0; i < kHeadDim; ++i) {
      sum[i] += weight * at(values(), row(j) + i);
    }
  }
  for (double& value : sum) value /= weights;
  return sum;
}

mx::array rows_of(const mx::array& x, int axis, int begin, int end) {
  mx::Shape start(x.ndim(), 0);
  auto stop = x.shape();
  start[axis] = begin;
  stop[axis] = end;
  return mx::slice(x, start, stop);
}

/// The rows of one sequence, which comes in parts.
mx::array attend_in_parts(const std::vector<int>& lengths, int window) {
  ContiguousKVCache cache(1, kTokens);
  std::vector<mx::array> outputs;
  int begin = 0;
  for (const int length : lengths) {
    const int end = begin + length;
    cache.append(0, rows_of(keys(), 2, begin, end),
                 rows_of(values(), 2, begin, end));
    outputs.push_back(attention_mlx(rows_of(queries(), 0, begin, end), 0,
                                    window, {{&cache, length}}));
    cache.advance(length);
    begin = end;
  }
  return mx::concatenate(outputs, 0);
}

class WindowTest : public ::testing::TestWithParam<int> {};

TEST_P(WindowTest, RowsSeeTheLastPositionsOfTheWindowAlone) {
  const int window = GetParam();
  mx::eval(queries(), keys(), values());
  const std::vector<std::vector<int>> ways = {
      {kTokens}, std::vector(kTokens, 1), {5, 7, 1}, {1, 12}, {4, 1, 1, 7}};
  for (const auto& lengths : ways) {
    auto out = mx::contiguous(attend_in_parts(lengths, window));
    out.eval();
    ASSERT_EQ(out.shape(), (mx::Shape{kTokens, kHeads * kHeadDim}));
    for (int position = 0; position < kTokens; ++position) {
      for (int head = 0; head < kHeads; ++head) {
        const auto wanted = expected(position, head, window);
        for (int i = 0; i < kHeadDim; ++i) {
          const int index = (position * kHeads + head) * kHeadDim + i;
          // Means of at most 13 values of size 1, in float32.
          ASSERT_NEAR(out.data<float>()[index], wanted[i], 2e-6)
              << "parts " << lengths.size() << ", position " << position;
        }
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Windows, WindowTest,
                         ::testing::Values(0, 1, 2, 5, 12, 13, 14, 1 << 30));

TEST(AttentionTest, SequencesHaveWindowsOfTheirOwn) {
  ContiguousKVCache a(1, kTokens);
  ContiguousKVCache b(1, kTokens);
  a.append(0, rows_of(keys(), 2, 0, 8), rows_of(values(), 2, 0, 8));
  a.advance(8);
  a.append(0, rows_of(keys(), 2, 8, 13), rows_of(values(), 2, 8, 13));
  b.append(0, rows_of(keys(), 2, 0, 4), rows_of(values(), 2, 0, 4));
  const auto mixed = mx::concatenate(
      {rows_of(queries(), 0, 8, 13), rows_of(queries(), 0, 0, 4)}, 0);
  const auto out = attention_mlx(mixed, 0, 3, {{&a, 5}, {&b, 4}});
  const auto whole = attend_in_parts({kTokens}, 3);
  const auto wanted =
      mx::concatenate({rows_of(whole, 0, 8, 13), rows_of(whole, 0, 0, 4)}, 0);
  EXPECT_TRUE(mx::allclose(out, wanted, 0, 2e-6).item<bool>());
}

}  // namespace
}  // namespace llamlx
