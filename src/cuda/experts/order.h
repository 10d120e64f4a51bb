#pragma once

#include "cuda/experts/route.h"
#include "cuda/intrinsics.h"

namespace llamlx::cuda {

/// Orders rows as OrderArgs says, by all threads of a block. A thread has an
/// expert and a segment of the rows: it counts those that go there, and puts
/// them after those of the segments before. `shared`: order_shared_bytes().
class RowOrder {
 public:
  __device__ RowOrder(const OrderArgs& args, int* shared)
      : args_(args),
        threads_(static_cast<int>(blockDim.x)),
        row_blocks_(ceil_divide(args.rows, kRouteRows)),
        segments_(larger(1, smaller(threads_ / args.experts, row_blocks_))),
        each_(ceil_divide(row_blocks_, segments_)),
        counts_(shared),
        totals_(counts_ + larger(threads_, args.experts)),
        groups_of_(totals_ + args.experts),
        firsts_(groups_of_ + args.experts) {}

  __device__ void run() const {
    for_items([&](int item) {
      int count = 0;
      for_rows(item, [&](int, unsigned mask) { count += __popc(mask); });
      counts_[item] = count;
    });
    __syncthreads();
    for_experts([&](int expert) { add_up(expert); });
    __syncthreads();
    for_experts([&](int expert) { make_groups(expert); });
    __syncthreads();
    for_items([&](int item) { put(item); });
  }

 private:
  template <typename Use>
  __device__ void for_experts(const Use& use) const {
    for (int i = static_cast<int>(threadIdx.x); i < args_.experts;
         i += threads_) {
      use(i);
    }
  }
  /// All pairs of a segment and an expert.
  template <typename Use>
  __device__ void for_items(const Use& use) const {
    for (int i = static_cast<int>(threadIdx.x); i < segments_ * args_.experts;
         i += threads_) {
      use(i);
    }
  }
  /// Calls use(block, mask) for all blocks of rows of an item, in order.
  template <typename Use>
  __device__ void for_rows(int item, const Use& use) const {
    constexpr int kAtOnce = 8;  // what is asked for together arrives together
    const int begin = item / args_.experts * each_;
    const int end = smaller(begin + each_, row_blocks_);
    const auto* masks = args_.masks + item % args_.experts;
    for (int first = begin; first < end; first += kAtOnce) {
      unsigned mask[kAtOnce];
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) {
        const int block = first + i;
        mask[i] = block < end ? load_fresh(masks + block * args_.experts) : 0U;
      }
#pragma unroll
      for (int i = 0; i < kAtOnce; ++i) use(first + i, mask[i]);
    }
  }

  __device__ bool has_all_rows() const { return args_.group_rows == 0; }

  /// Of an expert's segments what came before, of all of them the sum.
  __device__ void add_up(int expert) const {
    int sum = 0;
    for (int segment = 0; segment < segments_; ++segment) {
      auto& count = counts_[segment * args_.experts + expert];
      const int its = count;
      count = sum;
      sum += its;
    }
    totals_[expert] = sum;
    groups_of_[expert] =
        has_all_rows() ? smaller(sum, 1) : ceil_divide(sum, args_.group_rows);
  }

  __device__ void make_groups(int expert) const {
    int place = 0;
    int group = 0;
#pragma unroll 8
    for (int i = 0; i < expert; ++i) {
      place += totals_[i];
      group += groups_of_[i];
    }
    const int end = group + groups_of_[expert];
    if (expert == args_.experts - 1) *args_.num_groups = end;
    if (has_all_rows()) {
      firsts_[expert] = group * args_.rows;
      if (group < end)
        args_.groups[group] = {expert, firsts_[expert], args_.rows};
      return;
    }
    firsts_[expert] = place;
    for (int left = totals_[expert]; group < end; ++group) {
      const int count = smaller(left, args_.group_rows);
      args_.groups[group] = {expert, place, count};
      place += count;
      left -= count;
    }
  }

  /// Says where the rows of an item go.
  __device__ void put(int item) const {
    const int expert = item % args_.experts;
    int place = firsts_[expert] + (has_all_rows() ? 0 : counts_[item]);
    for_rows(item, [&](int block, unsigned mask) {
      for (int i = 0; i < kRouteRows; ++i) {
        if ((mask >> i & 1U) == 0) continue;
        const int row = block * kRouteRows + i;
        auto* its = args_.places + static_cast<long long>(row) * args_.experts;
        if (has_all_rows()) {
          its[expert] = place + row;
        } else {
          its[expert] = place;
          args_.rows_of[place++] = row;
        }
      }
    });
  }

  const OrderArgs& args_;
  int threads_;
  int row_blocks_;
  int segments_;
  int each_;     // blocks of rows of a segment
  int* counts_;  // [segments, experts]
  int* totals_;  // [experts]
  int* groups_of_;
  int* firsts_;  // places
};

}  // namespace llamlx::cuda
