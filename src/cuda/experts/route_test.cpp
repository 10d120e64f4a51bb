#include "cuda/experts/route.h"

#include <cmath>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "cuda/experts/route_testing.h"
#include "cuda/intrinsics.h"

namespace llamlx::cuda {
namespace {

constexpr float kEps = 1e-5F;

struct RouteCase {
  Grouping grouping;
  int cols;
  bool sums_to_one = true;
  int experts_a_warp = 1;
};

/// A case's numbers and what the kernels make of them.
struct Routed {
  const RouteCase& c;
  std::vector<float> x, router;
  std::vector<unsigned> counters;
  Routes routes;

  Routed(const RouteCase& given, std::mt19937& random)
      : c(given), routes(given.grouping) {
    std::normal_distribution<float> normal;
    x.resize(static_cast<std::size_t>(c.grouping.rows * c.cols));
    router.resize(static_cast<std::size_t>(c.grouping.experts * c.cols));
    for (auto& value : x) value = 3 * normal(random);
    for (auto& value : router) value = 0.1F * normal(random);
    counters.resize(static_cast<std::size_t>(routes.row_blocks()));
  }

  void run() {
    const auto& how = c.grouping;
    const int blocks = ceil_divide(how.experts, kRouteWarps * c.experts_a_warp);
    emulate("route_rows_e" + std::to_string(c.experts_a_warp),
            {.grid_x = static_cast<unsigned>(routes.row_blocks()),
             .grid_y = static_cast<unsigned>(blocks),
             .block = kRouteThreads,
             .shared_bytes =
                 static_cast<unsigned>(route_shared_bytes(how.experts))},
            RouteArgs{
                x.data(), how.rows, c.cols, kEps, router.data(), how.experts,
                how.used, c.sums_to_one ? 1 : 0, routes.logits.data(),
                routes.norms.data(), routes.chosen.data(), routes.shares.data(),
                routes.masks.data(), counters.data(), routes.order_args()});
    EXPECT_THAT(counters, ::testing::Each(0U));
    if (routes.row_blocks() > 1) routes.order();
  }
};

/// Sums of n float32 products are off by at most n 2^-24 of their magnitudes,
/// the norm by half of that, as a root halves what its sum is off by.
void expect_logits(const Routed& routed) {
  const int cols = routed.c.cols;
  const auto& routes = routed.routes;
  for (int row = 0; row < routes.grouping.rows; ++row) {
    const auto* x = &routed.x[static_cast<std::size_t>(row * cols)];
    double squares = 0;
    for (int k = 0; k < cols; ++k) squares += double{x[k]} * x[k];
    const double norm = 1 / std::sqrt(squares / cols + kEps);
    ASSERT_NEAR(routes.norms[static_cast<std::size_t>(row)], norm,
                norm * (cols + 8) * 0x1p-25);
    for (int e = 0; e < routes.grouping.experts; ++e) {
      const auto* w = &routed.router[static_cast<std::size_t>(e * cols)];
      double sum = 0;
      double magnitude = 0;
      for (int k = 0; k < cols; ++k) {
        sum += norm * x[k] * w[k];
        magnitude += norm * std::abs(x[k] * w[k]);
      }
      const auto at =
          static_cast<std::size_t>(row * routes.grouping.experts + e);
      ASSERT_NEAR(routes.logits[at], sum, magnitude * (2 * cols + 16) * 0x1p-24)
          << "row " << row << ", expert " << e;
    }
  }
}

/// Rows' experts and shares are those of the logits that were found.
void expect_choice(const Routed& routed) {
  const auto& [rows, experts, used, group_rows] = routed.c.grouping;
  for (int row = 0; row < rows; ++row) {
    const auto* logits =
        &routed.routes.logits[static_cast<std::size_t>(row * experts)];
    std::vector<int> order(static_cast<std::size_t>(experts));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(),
                     [&](int a, int b) { return logits[a] > logits[b]; });
    double sum = 0;
    for (int i = 0; i < experts; ++i) {
      const bool counts = !routed.c.sums_to_one || i < used;
      if (counts) sum += std::exp(double{logits[order[i]]} - logits[order[0]]);
    }
    std::sort(order.begin(), order.begin() + used);
    for (int i = 0; i < used; ++i) {
      const auto at = static_cast<std::size_t>(row * used + i);
      ASSERT_EQ(routed.routes.chosen[at], order[i]) << row << ", " << i;
      const double share =
          std::exp(double{logits[order[i]]} -
                   *std::max_element(logits, logits + experts)) /
          sum;
      // A difference of logits is rounded, exp and quotient good to 2^-22.
      ASSERT_NEAR(routed.routes.shares[at], share, share * 0x1p-18)
          << row << ", " << i;
    }
  }
}

/// Every expert's rows in their order, cut into groups; or all rows in each.
void expect_order(const Routes& routes) {
  const auto& how = routes.grouping;
  const auto rows_by_expert = routes.rows_by_expert();
  ASSERT_LE(routes.num_groups, how.most_groups());
  int group = 0;
  int place = 0;
  for (int e = 0; e < how.experts; ++e) {
    const auto& rows = rows_by_expert[static_cast<std::size_t>(e)];
    const int count = static_cast<int>(rows.size());
    const int each = how.has_all_rows() ? std::max(1, count) : how.group_rows;
    for (int first = 0; first < count; first += each) {
      ASSERT_LT(group, routes.num_groups);
      const auto& found = routes.groups[static_cast<std::size_t>(group++)];
      ASSERT_EQ(found.expert, e);
      ASSERT_EQ(found.first, place);
      const int its = std::min(each, count - first);
      ASSERT_EQ(found.count, how.has_all_rows() ? how.rows : its);
      for (int i = first; i < first + its; ++i) {
        const int row = rows[static_cast<std::size_t>(i)];
        const int its_place =
            how.has_all_rows() ? place + row : place + i - first;
        ASSERT_EQ(routes.place(row, e), its_place);
        if (how.has_all_rows()) continue;
        ASSERT_EQ(routes.rows_of[static_cast<std::size_t>(its_place)], row);
      }
      place += found.count;
    }
  }
  ASSERT_EQ(group, routes.num_groups);
  ASSERT_LE(place, how.places());
}

void check(const RouteCase& c) {
  std::mt19937 random(1);
  Routed routed(c, random);
  routed.run();
  expect_logits(routed);
  expect_choice(routed);
  expect_order(routed.routes);
}

TEST(RouteRows, OfOneRow) {
  check({{1, 8, 2, 0}, 128});
  check({{1, 128, 8, 0}, 2052});
  check({{1, 1, 1, 0}, 4, false});
  check({{1, 5, 5, 0}, 96, false});
}

TEST(RouteRows, OfRowsThatOneBlockOrders) {
  check({{2, 5, 2, 0}, 4100});
  check({{3, 60, 6, 0}, 160, false});
  check({{8, 8, 2, 0}, 1156});
  check({{8, 300, 4, 8}, 64});
  check({{7, 33, 32, 0}, 32, true, 4});
  check({{5, kMostExperts, 3, 0}, 8, true, 4});
}

TEST(RouteRows, OfMany) {
  check({{9, 4, 1, 8}, 64});
  check({{64, 40, 4, 8}, 96, false, 4});
  check({{37, 3, 3, 32}, 160, true, 4});
  check({{130, 128, 8, 32}, 36, true, 4});
  check({{25, kMostExperts, 2, 128}, 8, false, 4});
}

TEST(RouteRows, OfEqualLogitsTheFirstIsTaken) {
  const RouteCase c{{3, 70, 5, 0}, 64};
  std::mt19937 random(2);
  Routed routed(c, random);
  // All experts are alike but one, which is the best, or the worst, of all.
  for (std::size_t i = 64; i < routed.router.size(); ++i) {
    routed.router[i] = routed.router[i - 64];
  }
  for (std::size_t i = 0; i < 64; ++i) routed.router[41 * 64 + i] *= -1;
  routed.run();
  expect_choice(routed);
  for (int row = 0; row < 3; ++row) {
    const auto* chosen =
        &routed.routes.chosen[static_cast<std::size_t>(5 * row)];
    const bool is_best =
        routed.routes.logits[static_cast<std::size_t>(70 * row + 41)] > 0;
    EXPECT_EQ(chosen[0], 0);
    EXPECT_EQ(chosen[3], 3);
    EXPECT_EQ(chosen[4], is_best ? 41 : 4);
  }
}

TEST(RouteRows, AllMayGoToOneExpert) {
  const RouteCase c{{20, 9, 1, 8}, 64};
  std::mt19937 random(3);
  Routed routed(c, random);
  for (auto& value : routed.x) value = std::abs(value);
  for (std::size_t i = 0; i < routed.router.size(); ++i) {
    routed.router[i] = i / 64 == 6 ? 1.0F : 0.0F;
  }
  routed.run();
  expect_order(routed.routes);
  EXPECT_THAT(routed.routes.chosen, ::testing::Each(6));
  EXPECT_EQ(routed.routes.num_groups, 3);
}

TEST(RouteRows, WhatIsNotFiniteStaysInItsRow) {
  const RouteCase c{{3, 12, 2, 0}, 128};
  for (const float odd : {NAN, HUGE_VALF, -HUGE_VALF}) {
    std::mt19937 random(4);
    Routed plain(c, random);
    auto routed = plain;
    routed.x[128 + 17] = odd;
    plain.run();
    routed.run();
    for (std::size_t i = 0; i < 6; ++i) {
      if (i / 2 != 1) {
        EXPECT_EQ(routed.routes.chosen[i], plain.routes.chosen[i]);
        EXPECT_EQ(routed.routes.shares[i], plain.routes.shares[i]);
      } else {
        EXPECT_EQ(routed.routes.chosen[i], static_cast<int>(i) % 2);
        EXPECT_TRUE(std::isnan(routed.routes.shares[i]));
      }
    }
    expect_order(routed.routes);
  }
}

TEST(OrderRows, OfAPrompt) {
  std::mt19937 random(5);
  for (const auto& how :
       {Grouping{2048, 128, 8, 128}, Grouping{700, 6, 2, 128},
        Grouping{333, 60, 60, 64}, Grouping{65, kMostExperts, 1, 8}}) {
    expect_order(random_routes(how, random));
  }
}

/// However rows are spread, there are no more groups than are launched; and
/// they may be as many.
TEST(Grouping, KnowsTheMostGroupsThereCanBe) {
  EXPECT_EQ((Grouping{1, 128, 8, 0}.most_groups()), 8);
  EXPECT_EQ((Grouping{8, 8, 2, 0}.most_groups()), 8);
  EXPECT_EQ((Grouping{64, 128, 8, 8}.most_groups()), 176);
  EXPECT_EQ((Grouping{3, 128, 2, 8}.most_groups()), 6);
  const Grouping how{68, 4, 1, 16};
  EXPECT_EQ(how.most_groups(), 8);
  std::vector<int> chosen(68);
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    chosen[i] = static_cast<int>(i) % 4;  // 17 to each
  }
  std::mt19937 random(6);
  EXPECT_EQ(routes_of(how, chosen, random).num_groups, 8);
}

}  // namespace
}  // namespace llamlx::cuda
