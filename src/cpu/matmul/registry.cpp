#include "cpu/matmul/registry.h"

#include <algorithm>
#include <iterator>
#include <utility>

#include "base/concat.h"
#include "base/cpu_features.h"
#include "base/error.h"
#include "cpu/matmul/kernel_list.h"

namespace llamlx {
namespace {

// Lower is better, as measured (docs/performance.md). Products of pairs of
// bf16 are twice as fast as float32's on AMD, and half as fast on Intel. Those
// of ARM were never timed: they are ranked by their count of instructions.
struct RankedKernel {
  const MatmulKernel* kernel;
  int rank;
  int rank_on_amd;
};

std::vector<RankedKernel> ranked_kernels() {
  return {
    {&qmv_scalar, 90, 90}, {&qmm_scalar, 91, 91},
#if defined(__x86_64__)
        {&qmv_avx512_vnni, 20, 20}, {&qmv_avx512, 30, 30}, {&qmv_avx2, 50, 50},
        {&qmm_amx, 31, 31}, {&qmm_f16_amx, 32, 32}, {&qmm_avx512, 34, 34},
        {&qmm_avx512_bf16, 35, 33}, {&qmm_avx2, 51, 51},
#elif defined(__aarch64__)
        {&qmv_neon_i8mm, 20, 20}, {&qmv_neon_dotprod, 21, 21},
        {&qmv_neon, 50, 50}, {&qmm_neon_bf16, 31, 31}, {&qmm_neon, 51, 51},
#endif
  };
}

MatmulRegistry& registry() {
  static MatmulRegistry registry(all_matmul_kernels(), active_isa());
  return registry;
}

}  // namespace

std::vector<const MatmulKernel*> all_matmul_kernels() {
  const bool is_amd = cpu_vendor() == "AuthenticAMD";
  auto rows = ranked_kernels();
  std::ranges::stable_sort(
      rows, {}, is_amd ? &RankedKernel::rank_on_amd : &RankedKernel::rank);
  std::vector<const MatmulKernel*> kernels;
  for (const auto& row : rows) kernels.push_back(row.kernel);
  return kernels;
}

MatmulRegistry::MatmulRegistry(std::vector<const MatmulKernel*> ranked,
                               Isa last)
    : kernels_([&] {
        std::erase_if(
            ranked, [last](const auto* kernel) { return kernel->isa > last; });
        return std::move(ranked);
      }()) {}

const MatmulKernel& MatmulRegistry::find(const WeightFormat& format, int cols,
                                         ValueType compute, int rows) {
  const std::lock_guard lock(mutex_);
  const auto* kernel = find_right(format, cols, compute, rows);
  if (kernel != nullptr) return *kernel;
  fail(ErrorCode::unsupported, "matrix products",
       concat("no kernel of this machine is right for ", format.bits,
              "-bit weights in groups of ", format.group_size),
       "run `llamlx doctor` and report what it says");
}

ServingKernels MatmulRegistry::serving(const WeightFormat& format, int cols,
                                       ValueType compute) {
  constexpr int kManyRows = 512;
  const std::lock_guard lock(mutex_);
  ServingKernels result;
  result.one_row = find_right(format, cols, compute, 1);
  result.many_rows = find_right(format, cols, compute, kManyRows);
  std::ranges::copy_if(notes_, std::back_inserter(result.wrong),
                       [&](const KernelNote& note) {
                         return !note.is_right && note.format == format &&
                                note.compute == compute;
                       });
  return result;
}

const MatmulKernel* MatmulRegistry::find_right(const WeightFormat& format,
                                               int cols, ValueType compute,
                                               int rows) {
  for (const auto* kernel : kernels_) {
    if (rows >= kernel->min_rows && rows <= kernel->max_rows &&
        kernel->supports(format, cols, compute) &&
        is_right(*kernel, format, compute)) {
      return kernel;
    }
  }
  return nullptr;
}

std::vector<KernelNote> MatmulRegistry::notes() const {
  const std::lock_guard lock(mutex_);
  return notes_;
}

bool MatmulRegistry::is_right(const MatmulKernel& kernel,
                              const WeightFormat& format, ValueType compute) {
  for (const auto& note : notes_) {
    if (note.kernel == &kernel && note.format == format &&
        note.compute == compute) {
      return note.is_right;
    }
  }
  auto fault = fault_of(kernel, format, compute);
  const bool is_right = fault.empty();
  notes_.push_back({&kernel, format, compute, is_right, std::move(fault)});
  return is_right;
}

const MatmulKernel& matmul_kernel(const WeightFormat& format, int cols,
                                  ValueType compute, int rows) {
  return registry().find(format, cols, compute, rows);
}

ServingKernels serving_kernels(const WeightFormat& format, int cols,
                               ValueType compute) {
  return registry().serving(format, cols, compute);
}

std::vector<KernelNote> matmul_kernel_notes() { return registry().notes(); }

}  // namespace llamlx
