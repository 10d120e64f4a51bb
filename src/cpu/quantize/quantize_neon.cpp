#include "cpu/quantize/codes.h"
#include "cpu/simd/simd_neon.h"

namespace llamlx {
namespace {

using Codes = CodesInWords<Simd>;

}  // namespace
}  // namespace llamlx

#include "cpu/quantize/quantize.inl.h"

namespace llamlx {

extern constinit const QuantizeKernel kQuantizeNeon = {Isa::neon,
                                                       quantize_groups};

}  // namespace llamlx
