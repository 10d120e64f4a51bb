#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "cpu/matmul/registry.h"
#include "doctor_checks.h"

namespace llamlx {

/// What multiplies with weights of one format, when it is computed in
/// `compute`.
struct FormatKernels {
  WeightFormat format;
  ValueType compute;
  ServingKernels serving;
};

/// Which instruction sets and kernels compute on this machine's processor.
struct KernelFacts {
  std::vector<Isa> supported;  ///< from scalar to the last
  Isa active = Isa::scalar;    ///< the last that is used
  bool is_forced = false;      ///< LLAMLX_FORCE_ISA says which
  bool amx_is_refused = false;
  std::vector<FormatKernels> formats;
};

/// Tries the kernels for dense weights of each type, and for those quantised to
/// each number of bits in groups of 64. Errors: as active_isa().
KernelFacts read_kernel_facts();

/// A line for the instruction set, one for each group of formats that the same
/// kernels serve, and one for each kernel that is wrong.
std::vector<Check> check_kernels(const KernelFacts& facts);

Json to_json(const KernelFacts& facts);

/// "qmv_avx2 for few rows, qmm_avx2 for many".
std::string to_string(const ServingKernels& serving);

}  // namespace llamlx
