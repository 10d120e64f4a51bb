#pragma once

namespace llamlx {

/// Registers benchmarks of mixtures of experts: experts/...
void add_experts_benchmarks();

}  // namespace llamlx
