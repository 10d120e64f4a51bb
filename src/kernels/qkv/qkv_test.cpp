#include "kernels/qkv/qkv.h"

#include <cmath>

#include <gtest/gtest.h>
#include <mlx/fast.h>
#include <mlx/ops.h>
#include <mlx/random.h>
#include <mlx/transforms.h>

namespace llamlx {
namespace {

constexpr int kWidth = 12;
constexpr int kHeads = 2;
constexpr int kHeadDim = 6;
constexpr int kTokens = 5;
constexpr float kEps = 1e-5f;
// Sums of 12 products of size 1 in float32, then turned.
constexpr float kTolerance = 5e-6f;

mx::array random(const mx::Shape& shape, int seed) {
  return mx::random::normal(shape, mx::float32, 0, 1, mx::random::key(seed));
}

QkvWeights random_weights() {
  return {random({kWidth}, 1),
          {{random({kHeads * kHeadDim, kWidth}, 2)}},
          {{random({kHeadDim, kWidth}, 3)}},
          {{random({kHeadDim, kWidth}, 4)}}};
}

mx::array periods() { return mx::array({1.0f, 3.0f, 20.0f}); }

QkvParams params_with(bool traditional, float scale) {
  return {{kHeads, 1, kHeadDim}, Rope{traditional, scale, periods()}, kEps};
}

/// The queries [N, H, Dh] and the keys [1, 1, N, Dh] of five rows after three.
std::pair<mx::array, mx::array> run(const QkvWeights& weights,
                                    const QkvParams& params) {
  ContiguousKVCache cache(1, 16);
  const auto past = mx::zeros({1, 1, 3, kHeadDim});
  cache.append(0, past, past);
  cache.advance(3);
  const auto q = qkv_mlx(random({kTokens, kWidth}, 5), weights, params, 0,
                         {{&cache, kTokens}});
  const auto keys = cache.fetch(0).first;
  return {q, mx::slice(keys, {0, 0, 3, 0}, keys.shape())};
}

/// Row `position - 3` of `x` [N, Dh], turned by its position pair by pair.
std::vector<double> turned(const mx::array& x, int position,
                           const QkvParams& params) {
  const auto row =
      mx::contiguous(mx::slice(x, {position - 3, 0}, {position - 2, kHeadDim}));
  mx::eval(row);
  const auto* values = row.data<float>();
  const double wavelengths[] = {1, 3, 20};
  std::vector<double> result(kHeadDim);
  for (int pair = 0; pair < kHeadDim / 2; ++pair) {
    const int a = params.rope.traditional ? 2 * pair : pair;
    const int b = params.rope.traditional ? a + 1 : pair + kHeadDim / 2;
    const double angle = position / wavelengths[pair];
    result[a] = params.rope.scale *
                (values[a] * std::cos(angle) - values[b] * std::sin(angle));
    result[b] = params.rope.scale *
                (values[a] * std::sin(angle) + values[b] * std::cos(angle));
  }
  return result;
}

struct Case {
  bool traditional;
  float scale;
  bool normed;
};

class QkvTest : public ::testing::TestWithParam<Case> {};

TEST_P(QkvTest, NormsHeadsThenTurnsAndScalesThem) {
  const auto [traditional, scale, normed] = GetParam();
  const auto params = params_with(traditional, scale);
  auto weights = random_weights();
  const auto x = mx::fast::rms_norm(random({kTokens, kWidth}, 5),
                                    weights.input_layernorm, kEps);
  auto k = linear(x, weights.k_proj);
  auto q = mx::slice(linear(x, weights.q_proj), {0, kHeadDim},
                     {kTokens, 2 * kHeadDim});  // the second head
  if (normed) {
    weights.q_norm = random({kHeadDim}, 6);
    weights.k_norm = random({kHeadDim}, 7);
    q = mx::fast::rms_norm(q, weights.q_norm, kEps);
    k = mx::fast::rms_norm(k, weights.k_norm, kEps);
  }
  const auto [got_q, got_k] = run(weights, params);
  for (int row = 0; row < kTokens; ++row) {
    const auto wanted_q = turned(q, row + 3, params);
    const auto wanted_k = turned(k, row + 3, params);
    for (int i = 0; i < kHeadDim; ++i) {
      const auto at = [&](const mx::array& all, const mx::Shape& where) {
        auto end = where;
        for (auto& index : end) ++index;
        return mx::slice(all, where, end).item<float>();
      };
      EXPECT_NEAR(at(got_q, {row, 1, i}), wanted_q[i], kTolerance * scale);
      EXPECT_NEAR(at(got_k, {0, 0, row, i}), wanted_k[i], kTolerance * scale);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Ways, QkvTest,
    ::testing::Values(Case{false, 1, false}, Case{true, 1, false},
                      Case{false, 1.5f, false}, Case{true, 0.75f, false},
                      Case{false, 1, true}, Case{true, 1.5f, true}));

TEST(QkvTest, EverySegmentTurnsByItsOwnPeriods) {
  const auto weights = random_weights();
  auto params = params_with(false, 1);
  const auto slow = mx::multiply(periods(), mx::array(2.0f));
  const auto one = run(weights, params).first;
  params.rope.periods = slow;
  const auto other = run(weights, params).first;

  params.rope.periods = mx::stack({periods(), slow});
  ContiguousKVCache a(1, 16);
  ContiguousKVCache b(1, 16);
  for (auto* cache : {&a, &b}) {
    const auto past = mx::zeros({1, 1, 3, kHeadDim});
    cache->append(0, past, past);
    cache->advance(3);
  }
  const auto x = random({kTokens, kWidth}, 5);
  const auto both = qkv_mlx(mx::concatenate({x, x}, 0), weights, params, 0,
                            {{&a, kTokens}, {&b, kTokens}});
  EXPECT_TRUE(mx::allclose(both, mx::concatenate({one, other}, 0), 0, 1e-6)
                  .item<bool>());
  EXPECT_FALSE(mx::allclose(one, other, 0, 1e-2).item<bool>());
}

}  // namespace
}  // namespace llamlx
