#include "cuda/experts/load_group.h"
#include "cuda/experts/many_rows.h"
#include "cuda/matmul/formats.h"
#include "cuda/matmul/many_rows_products.h"

namespace llamlx::cuda {
namespace {

/// Rows of x that go to one expert, wherever they lie.
struct RowsOfGroup {
  static constexpr bool kMayBeFew = true;
  const int* rows;
  int count;
  int first = 0;

  __device__ bool is_there(int token) const { return token < count; }
  __device__ int row(int token) const { return rows[token]; }
};

/// Brings together which those are, by all threads.
__device__ RowsOfGroup rows_of_group(const ExpertsManyArgs& args,
                                     const ExpertGroup& group, int* rows) {
  for (int i = static_cast<int>(threadIdx.x); i < group.count;
       i += kManyRowsThreads) {
    const int place = group.first + i;
    rows[i] =
        args.rows_of == nullptr ? place : load_fresh(args.rows_of + place);
  }
  __syncthreads();
  return {rows, group.count};
}

template <typename Tile>
__device__ void multiply_group(const ExpertsManyArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const auto group = load_group(args.groups, static_cast<int>(blockIdx.x));
  if (group.count == 0) return;
  auto* stages = shared_memory();
  const auto rows = rows_of_group(
      args, group, reinterpret_cast<int*>(stages + kManyRowsSharedBytes));
  auto product = args.each;
  product.weight += group.expert * args.weight_stride;
  product.bias = nullptr;
  product.out += static_cast<long long>(group.first) * product.out_stride;
  many_rows<Tile>(product, rows, static_cast<int>(blockIdx.y), stages);
}

}  // namespace

#define LLAMLX_EXPERTS_MANY_KERNEL(name, ...)                                \
  LLAMLX_KERNEL(experts_many_##name, ExpertsManyArgs, kManyRowsThreads, 1) { \
    multiply_group<__VA_ARGS__>(args);                                       \
  }

LLAMLX_FORMATS_OF_16_BITS(LLAMLX_EXPERTS_MANY_KERNEL)

}  // namespace llamlx::cuda
