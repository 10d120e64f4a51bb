#include <algorithm>

#include "base/concat.h"
#include "base/error.h"
#include "base/json.h"
#include "generate/generator.h"

namespace llamlx {
namespace {

std::vector<std::int32_t> read_ids(const Json& config,
                                   std::string_view subject) {
  const auto found = config.find("eos_token_id");
  if (found == config.end() || found->is_null()) return {};
  const Json list = found->is_array() ? *found : Json::array({*found});
  std::vector<std::int32_t> ids;
  for (const auto& id : list) {
    if (!id.is_number_integer()) {
      fail(ErrorCode::corrupt_file, subject,
           "\"eos_token_id\" should be a whole number or a list of them",
           "correct the file or download it again");
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

}  // namespace

std::vector<std::int32_t> eos_token_ids(const Checkpoint& checkpoint,
                                        const Tokenizer* tokenizer) {
  const auto files = checkpoint.side_files();
  const auto generation_config =
      std::ranges::find(files, "generation_config.json", &SideFile::name);
  if (generation_config != files.end()) {
    const auto subject =
        (checkpoint.path() / "generation_config.json").string();
    const auto ids =
        read_ids(generation_config->content.empty()
                     ? read_json_file(generation_config->source)
                     : parse_json_object(generation_config->content, subject),
                 subject);
    if (!ids.empty()) return ids;
  }
  auto ids = read_ids(checkpoint.config(), checkpoint.path().string());
  if (ids.empty() && tokenizer != nullptr) return tokenizer->eos_ids();
  return ids;
}

}  // namespace llamlx
