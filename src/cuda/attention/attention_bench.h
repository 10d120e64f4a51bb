#pragma once

namespace llamlx {

/// Registers benchmarks of attention/few_rows: attend/..., attend_q8/...
void add_attention_benchmarks();

}  // namespace llamlx
