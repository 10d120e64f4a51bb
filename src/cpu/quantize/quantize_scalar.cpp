#include "cpu/quantize/codes.h"
#include "cpu/simd/simd_scalar.h"

namespace llamlx {
namespace {

using Codes = CodesInWords<Simd>;

}  // namespace
}  // namespace llamlx

#include "cpu/quantize/quantize.inl.h"

namespace llamlx {

extern constinit const QuantizeKernel kQuantizeScalar = {Isa::scalar,
                                                         quantize_groups};

}  // namespace llamlx
