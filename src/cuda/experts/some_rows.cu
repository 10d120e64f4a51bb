#include "cuda/experts/load_group.h"
#include "cuda/experts/some_rows.h"
#include "cuda/matmul/formats.h"
#include "cuda/matmul/some_rows_warps.h"

namespace llamlx::cuda {
namespace {

/// The product of one group as some_rows has it.
__device__ SomeRowsArgs product_of(const ExpertsSomeArgs& args,
                                   const ExpertGroup& group, int columns) {
  auto its = args.each;
  auto& products = its.products;
  const auto index = static_cast<long long>(blockIdx.z);
  products.weight += group.expert * args.weight_stride;
  products.x += index * args.x_stride / 2;
  products.rows = group.count;
  products.bias = nullptr;
  if (products.out != nullptr) {
    products.out += static_cast<long long>(group.first) * products.out_stride;
  }
  if (its.next.stages.bytes != nullptr) {
    its.next.stages.bytes += index * args.next_stride;
  }
  its.parts += index * gridDim.y * gridDim.x * columns * kSomeRowsThreads * 4;
  its.counters += index * gridDim.x;
  return its;
}

template <typename S>
__device__ void multiply_group(const ExpertsSomeArgs& args) {
  wait_for_predecessor();
  let_successor_start();
  const auto group = load_group(args.groups, static_cast<int>(blockIdx.z));
  if (group.count == 0) return;
  const auto product = product_of(args, group, S::kColumns);
  some_rows<S, ProductsByWarps, SlicesInMemory>(product, shared_memory());
}

}  // namespace

#define LLAMLX_EXPERTS_SOME_KERNEL(name, columns, ...)                       \
  LLAMLX_KERNEL(experts_some_##name##_n##columns, ExpertsSomeArgs,           \
                kSomeRowsThreads,                                            \
                some_rows_together(columns, __VA_ARGS__::layout().bits)) {   \
    multiply_group<SomeRowsShape<__VA_ARGS__, columns, OperandOrder::rows>>( \
        args);                                                               \
  }
#define LLAMLX_EXPERTS_SOME_KERNELS(name, ...)     \
  LLAMLX_EXPERTS_SOME_KERNEL(name, 1, __VA_ARGS__) \
  LLAMLX_EXPERTS_SOME_KERNEL(name, 2, __VA_ARGS__) \
  LLAMLX_EXPERTS_SOME_KERNEL(name, 4, __VA_ARGS__)

LLAMLX_FORMATS_OF_16_BITS(LLAMLX_EXPERTS_SOME_KERNELS)

}  // namespace llamlx::cuda
