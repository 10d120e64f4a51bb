#include "checkpoint/checkpoint.h"

#include <algorithm>

namespace llamlx {

const WeightInfo* Checkpoint::find(std::string_view name) const {
  const auto& all = weights();
  const auto found = std::ranges::lower_bound(all, name, {}, &WeightInfo::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

}  // namespace llamlx
