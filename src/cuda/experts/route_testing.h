#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/emulator/emulator.h"
#include "cuda/experts/route.h"

// Only *_test.cpp files include this.
namespace llamlx::cuda {

/// What route_rows and order_rows write.
struct Routes {
  Grouping grouping{};
  std::vector<float> logits, norms, shares;
  std::vector<int> chosen;
  std::vector<unsigned> masks;
  std::vector<ExpertGroup> groups;
  int num_groups = -1;
  std::vector<int> rows_of, places;

  explicit Routes(const Grouping& how) : grouping(how) {
    const auto of = [](int n, int m) {
      return static_cast<std::size_t>(n) * static_cast<std::size_t>(m);
    };
    logits.resize(of(how.rows, how.experts));
    norms.resize(of(how.rows, 1));
    shares.resize(of(how.rows, how.used));
    chosen.resize(shares.size());
    masks.resize(of(row_blocks(), how.experts));
    groups.resize(of(how.most_groups(), 1));
    rows_of.resize(of(how.places(), 1), -1);
    places.resize(logits.size(), -1);
  }

  int row_blocks() const {
    return (grouping.rows + kRouteRows - 1) / kRouteRows;
  }
  OrderArgs order_args() {
    return {masks.data(),  grouping.rows, grouping.experts, grouping.group_rows,
            groups.data(), &num_groups,   rows_of.data(),   places.data()};
  }
  void order() {
    const int shared = order_shared_bytes(kOrderThreads, grouping.experts);
    emulate(
        "order_rows",
        {.block = kOrderThreads, .shared_bytes = static_cast<unsigned>(shared)},
        order_args());
  }
  ExpertGroups view() const { return {groups.data(), &num_groups}; }

  /// The rows of every expert, as they were chosen.
  std::vector<std::vector<int>> rows_by_expert() const {
    std::vector<std::vector<int>> result(
        static_cast<std::size_t>(grouping.experts));
    for (std::size_t i = 0; i < chosen.size(); ++i) {
      result[static_cast<std::size_t>(chosen[i])].push_back(
          static_cast<int>(i) / grouping.used);
    }
    return result;
  }
  int place(int row, int expert) const {
    return places[static_cast<std::size_t>(row) *
                      static_cast<std::size_t>(grouping.experts) +
                  static_cast<std::size_t>(expert)];
  }
};

/// Rows that go to the experts `chosen` [rows, used], rising in each row, with
/// shares that do not add up to anything.
inline Routes routes_of(const Grouping& how, const std::vector<int>& chosen,
                        std::mt19937& random) {
  Routes routes(how);
  std::uniform_real_distribution<float> share(0.1F, 1);
  routes.chosen = chosen;
  for (std::size_t i = 0; i < chosen.size(); ++i) {
    routes.shares[i] = share(random);
    const int row = static_cast<int>(i) / how.used;
    const int mask = row / kRouteRows * how.experts + chosen[i];
    routes.masks[static_cast<std::size_t>(mask)] |= 1U << (row % kRouteRows);
  }
  routes.order();
  return routes;
}

/// The same at random.
inline Routes random_routes(const Grouping& how, std::mt19937& random) {
  std::vector<int> all(static_cast<std::size_t>(how.experts));
  std::iota(all.begin(), all.end(), 0);
  std::vector<int> chosen;
  for (int row = 0; row < how.rows; ++row) {
    std::shuffle(all.begin(), all.end(), random);
    std::sort(all.begin(), all.begin() + how.used);
    chosen.insert(chosen.end(), all.begin(), all.begin() + how.used);
  }
  return routes_of(how, chosen, random);
}

}  // namespace llamlx::cuda
