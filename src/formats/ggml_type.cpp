#include "formats/ggml_type.h"

#include <algorithm>

namespace llamlx {
namespace {

constexpr GgmlTypeInfo row(std::uint32_t type, std::string_view name,
                           int block_size, int block_bytes) {
  return {static_cast<GgmlType>(type), name, block_size, block_bytes};
}

constexpr GgmlTypeInfo kTypes[] = {
    row(0, "F32", 1, 4),          row(1, "F16", 1, 2),
    row(2, "Q4_0", 32, 18),       row(3, "Q4_1", 32, 20),
    row(4, "Q4_2", 16, 0),        row(5, "Q4_3", 16, 0),
    row(6, "Q5_0", 32, 22),       row(7, "Q5_1", 32, 24),
    row(8, "Q8_0", 32, 34),       row(9, "Q8_1", 32, 40),
    row(10, "Q2_K", 256, 84),     row(11, "Q3_K", 256, 110),
    row(12, "Q4_K", 256, 144),    row(13, "Q5_K", 256, 176),
    row(14, "Q6_K", 256, 210),    row(15, "Q8_K", 256, 292),
    row(16, "IQ2_XXS", 256, 66),  row(17, "IQ2_XS", 256, 74),
    row(18, "IQ3_XXS", 256, 98),  row(19, "IQ1_S", 256, 50),
    row(20, "IQ4_NL", 32, 18),    row(21, "IQ3_S", 256, 110),
    row(22, "IQ2_S", 256, 82),    row(23, "IQ4_XS", 256, 136),
    row(24, "I8", 1, 1),          row(25, "I16", 1, 2),
    row(26, "I32", 1, 4),         row(27, "I64", 1, 8),
    row(28, "F64", 1, 8),         row(29, "IQ1_M", 256, 56),
    row(30, "BF16", 1, 2),        row(31, "Q4_0_4_4", 32, 0),
    row(32, "Q4_0_4_8", 32, 0),   row(33, "Q4_0_8_8", 32, 0),
    row(34, "TQ1_0", 256, 54),    row(35, "TQ2_0", 256, 66),
    row(36, "IQ4_NL_4_4", 32, 0), row(37, "IQ4_NL_4_8", 32, 0),
    row(38, "IQ4_NL_8_8", 32, 0), row(39, "MXFP4", 32, 17),
    row(40, "NVFP4", 64, 36),     row(41, "Q1_0", 128, 18),
};

}  // namespace

const GgmlTypeInfo* find_ggml_type(std::uint32_t type) {
  const auto found = std::ranges::find(kTypes, static_cast<GgmlType>(type),
                                       &GgmlTypeInfo::type);
  return found != std::end(kTypes) ? found : nullptr;
}

}  // namespace llamlx
