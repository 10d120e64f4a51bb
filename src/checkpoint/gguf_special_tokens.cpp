#include "checkpoint/gguf_special_tokens.h"

#include <algorithm>
#include <limits>

#include "base/concat.h"

namespace llamlx {

Json GgufSpecialTokens::eos_json() const {
  return eos_ids.size() == 1 ? Json(eos_ids.front()) : Json(eos_ids);
}

GgufSpecialTokens read_gguf_special_tokens(const GgufFile& file) {
  GgufSpecialTokens special;
  const auto* tokens = file.find_value("tokenizer.ggml.tokens");
  const std::int64_t count =
      tokens == nullptr || tokens->type != GgufValueType::array
          ? std::numeric_limits<std::int32_t>::max()
          : static_cast<std::int64_t>(tokens->count);
  const auto read = [&](const char* name) -> std::optional<std::int32_t> {
    const auto key = concat("tokenizer.ggml.", name, "_token_id");
    const auto id = file.get<std::int64_t>(key);
    if (!id) return {};
    if (*id >= 0 && *id < count) return static_cast<std::int32_t>(*id);
    special.notices.push_back(concat(
        "ignored ", key, " ", *id, ": the vocabulary has ", count, " tokens"));
    return {};
  };
  special.bos = read("bos");
  special.eos = read("eos");
  special.unk = read("unknown");
  special.pad = read("padding");
  for (const auto& id : {special.eos, read("eot"), read("eom")}) {
    if (id && std::ranges::count(special.eos_ids, *id) == 0) {
      special.eos_ids.push_back(*id);
    }
  }
  return special;
}

}  // namespace llamlx
