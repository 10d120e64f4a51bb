#include "formats/tensor_file.h"

#include <algorithm>

namespace llamlx {

const TensorEntry* TensorFile::find(std::string_view name) const {
  const auto& all = tensors();
  const auto found =
      std::ranges::lower_bound(all, name, {}, &TensorEntry::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

}  // namespace llamlx
