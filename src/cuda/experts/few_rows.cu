#include "cuda/experts/few_rows.h"
#include "cuda/experts/load_group.h"
#include "cuda/matmul/few_rows_products.h"

namespace llamlx::cuda {

LLAMLX_KERNEL(experts_few_f32, ExpertsFewArgs, kFewRowsThreads, 2) {
  wait_for_predecessor();
  let_successor_start();
  const auto group = load_group(args.groups, static_cast<int>(blockIdx.z));
  if (group.count == 0) return;
  auto product = args.each;
  product.weight += group.expert * args.weight_stride;
  product.bias = nullptr;
  const auto first = static_cast<long long>(group.first);
  if (args.x_is_of_places != 0) product.x += first * product.cols;
  product.out += first * product.out_stride;
  few_rows<DenseTile32>(product);
}

}  // namespace llamlx::cuda
