#pragma once

#include "models/decoder.h"

namespace llamlx {

/// Throws the Error (not_finite) that says a model's logits are NaN or
/// infinite, and names the first parameter that holds such values, if one does.
/// Reads every parameter: call it only when there is something to explain.
[[noreturn]] void fail_not_finite(const Decoder& decoder);

}  // namespace llamlx
