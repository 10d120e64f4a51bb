#pragma once

namespace llamlx {

/// Registers benchmarks of attention/few_rows: attend/...
void add_attention_benchmarks();

}  // namespace llamlx
