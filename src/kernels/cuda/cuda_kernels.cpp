#include "kernels/cuda/cuda_kernels.h"

#include "base/concat.h"
#include "cuda/modules.h"
#include "kernels/cuda/cuda_decode.h"

namespace llamlx {
namespace {

CudaKernelChoice choice_without_experts(const CudaDeviceInfo& device,
                                        mx::Dtype compute) {
  const int capability = device.compute_capability;
  const auto number = concat(capability / 10, ".", capability % 10);
  if (compute == mx::float32) {
    return {"few_rows", "some_rows", "some_rows",
            "up to 64 rows at a time, as float32 has more digits than weights "
            "that are expanded"};
  }
  const char* const one_row =
      capability >= kDecodeCapability ? "decode" : "few_rows";
  if (has_warpgroups(device)) {
    return {one_row, "some_rows", "many_rows_hopper",
            concat("warpgroups (wgmma), which compute capability ", number,
                   " has")};
  }
  if (capability == 90) {
    return {one_row, "some_rows", "many_rows",
            "mma, as this build has no kernels for warpgroups (9.0a)"};
  }
  return {one_row, "some_rows", "many_rows",
          concat("mma, as compute capability ", number,
                 " has no warpgroups like 9.0's")};
}

}  // namespace

CudaKernelChoice cuda_kernel_choice(const CudaDeviceInfo& device,
                                    mx::Dtype compute, bool has_experts) {
  auto choice = choice_without_experts(device, compute);
  if (!has_experts) return choice;
  const bool has_both = has_warpgroups(device) && compute != mx::float32;
  choice.one_row = has_both ? "few_rows (of codes some_rows)" : "few_rows";
  choice.experts =
      compute == mx::float32 ? "experts_some" : "experts_some, experts_many";
  return choice;
}

std::string to_string(const CudaKernelChoice& choice) {
  const auto text =
      concat(choice.one_row, " for one row, ", choice.few_rows, " for few, ",
             choice.many_rows, " for many: ", choice.why);
  return choice.experts.empty() ? text
                                : concat(text, "; experts by ", choice.experts);
}

}  // namespace llamlx
