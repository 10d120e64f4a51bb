#pragma once

#include "cuda/experts/experts.h"

namespace llamlx::cuda {

inline constexpr int kRouteThreads = 256;
inline constexpr int kRouteWarps = kRouteThreads / 32;
/// Rows of a block: a warp chooses the experts of each.
inline constexpr int kRouteRows = kRouteWarps;
inline constexpr int kOrderThreads = 1024;

/// Orders rows by the experts they go to.
///
/// Kernel   order_rows; one block of kOrderThreads, with order_shared_bytes().
/// Shapes   masks [ceil(rows / kRouteRows), experts]: bit i says whether row
///          kRouteRows b + i goes there.
struct OrderArgs {
  const unsigned* masks;
  int rows;
  int experts;
  int group_rows;       ///< as Grouping has it
  ExpertGroup* groups;  ///< [most_groups()]
  int* num_groups;
  int* rows_of;  ///< [places()] of each place; not looked at if groups have all
  int* places;   ///< [rows, experts] of rows and experts they go to
};

constexpr int order_shared_bytes(int threads, int experts) {
  return 4 * ((threads < experts ? experts : threads) + 3 * experts);
}

/// Chooses the experts of rows: those of the largest router logits, of equal
/// ones the first; and their shares, which are the softmax of all logits, or
/// that divided by their sum. Where a logit is not finite, shares are NaN and
/// the experts the first ones.
///
/// Of rows of one block it orders them, too (OrderArgs).
///
/// Kernels  route_rows_e1, route_rows_e4: of so many experts a warp; grid
///          [ceil(rows / kRouteRows), ceil(experts / (kRouteWarps e))], blocks
///          of kRouteThreads with route_shared_bytes().
/// Shapes   x [rows, cols], cols a multiple of 4; router [experts, cols], which
///          the weights of x's rms norm are part of.
struct RouteArgs {
  const float* x;
  int rows;
  int cols;
  float eps;
  const float* router;
  int experts;      ///< up to kMostExperts
  int used;         ///< experts of a row
  int sums_to_one;  ///< shares of a row's experts do
  float* logits;    ///< [rows, experts]
  float* norms;     ///< [rows]: what the norm multiplies x by
  int* chosen;      ///< [rows, used], rising
  float* shares;    ///< [rows, used]
  unsigned* masks;
  unsigned* counters;  ///< [ceil(rows / kRouteRows)], 0 before and after
  OrderArgs order;
};

/// Numbers of x that a block holds at a time, of all its rows.
inline constexpr int kRouteNumbers = 8192;
/// Bytes of shared memory before those.
inline constexpr int kRouteHeadBytes = 64;

constexpr int route_shared_bytes(int experts) {
  const int order = order_shared_bytes(kRouteThreads, experts);
  const int values = 4 * kRouteRows * experts;
  const int x = 4 * kRouteNumbers;
  const int most = order < values ? values : order;
  return kRouteHeadBytes + (most < x ? x : most);
}

}  // namespace llamlx::cuda
