#include "formats/tensor_file.h"

#include <algorithm>

namespace llamlx {

const std::vector<std::string>& TensorFile::notices() const {
  static const std::vector<std::string> kNone;
  return kNone;
}

const TensorEntry* TensorFile::find(std::string_view name) const {
  const auto& all = tensors();
  const auto found =
      std::ranges::lower_bound(all, name, {}, &TensorEntry::name);
  return found != all.end() && found->name == name ? &*found : nullptr;
}

}  // namespace llamlx
