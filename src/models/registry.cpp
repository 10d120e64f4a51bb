#include "models/registry.h"

#include <algorithm>

namespace llamlx {
namespace {

constexpr ModelFamily kFamilies[] = {
    {"llama", read_llama_config},     {"mistral", read_mistral_config},
    {"mixtral", read_mixtral_config}, {"qwen2", read_qwen2_config},
    {"qwen3", read_qwen3_config},     {"qwen3_moe", read_qwen3_moe_config},
};

}  // namespace

std::span<const ModelFamily> model_families() { return kFamilies; }

const ModelFamily* find_family(std::string_view model_type) {
  const auto* found =
      std::ranges::find(kFamilies, model_type, &ModelFamily::model_type);
  return found == std::end(kFamilies) ? nullptr : found;
}

}  // namespace llamlx
