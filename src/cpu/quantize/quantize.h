#pragma once

#include <cstdint>
#include <vector>

#include "cpu/isa.h"
#include "cpu/weight_view.h"

namespace llamlx {

/// Whether values were ever infinite or not a number.
struct Finiteness {
  bool source;  ///< none of what was quantised
  bool result;  ///< no scale and no bias
};

/// Where quantised rows go, as WeightView lays them out.
struct QuantizedRows {
  void* data;
  void* scales;
  void* biases;
};

/// Quantises `groups` groups of format.group_size values of type `source`, one
/// behind another, first rounding each to format.values. `data` gets group_size
/// * bits / 8 bytes a group, `scales` and `biases` a value of format.values.
using QuantizeGroups = Finiteness (*)(const WeightFormat& format,
                                      const void* values, ValueType source,
                                      std::int64_t groups,
                                      const QuantizedRows& out);

struct QuantizeKernel {
  Isa isa;
  QuantizeGroups quantize;
};

/// Quantises values [rows, cols] of type `source` to `format`, bit by bit as
/// mx::quantize does on a CPU with the values cast to format.values: the range
/// of a group is cut into 2^bits - 1 steps, computed in float32, and moved a
/// little so that 0 and the end that lies farther from it are hit exactly.
///
/// Bits are promised for finite values. Others do no harm and are told of.
/// `cols` is a multiple of the group size; all memory is aligned for its
/// element, no more.
/// Threads: any, on rows of their own.
Finiteness quantize_rows(const WeightFormat& format, const void* values,
                         ValueType source, std::int64_t rows, int cols,
                         const QuantizedRows& out);

/// All of this architecture, supported here or not; the first is the reference.
const std::vector<QuantizeKernel>& all_quantize_kernels();

}  // namespace llamlx
