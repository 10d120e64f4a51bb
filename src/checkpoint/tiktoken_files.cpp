#include "checkpoint/tiktoken_files.h"

#include <string>
#include <utility>

#include "base/concat.h"
#include "base/mapped_file.h"
#include "tokenizer/tiktoken_file.h"

namespace llamlx {
namespace {

OrderedJson make_vocab(const Vocabulary& tokens) {
  OrderedJson::object_t vocab;
  vocab.reserve(tokens.size());
  for (std::int32_t id = 0; id < tokens.id_end(); ++id) {
    // The tokens differ, so there is no need for the linear search of [].
    vocab.emplace_back(tokens.token(id), id);
  }
  return vocab;
}

OrderedJson make_merges(const RankedTokenizer& ranked) {
  const MergeList merges = list_ranked_merges(ranked.tokens, ranked.file);
  OrderedJson::array_t list;
  list.reserve(merges.size());
  for (std::size_t i = 0; i < merges.size(); ++i) {
    list.emplace_back(concat(merges.left(i), " ", merges.right(i)));
  }
  return list;
}

OrderedJson make_tokenizer_config(const RankedTokenizer& ranked,
                                  const Json& config) {
  OrderedJson result = {{"bos_token", ranked.bos},
                        {"eos_token", ranked.eos},
                        {"clean_up_tokenization_spaces", false},
                        {"tokenizer_class", "PreTrainedTokenizerFast"}};
  const auto length = json_get<std::int64_t>(config, "max_position_embeddings",
                                             ranked.file + ": config");
  if (length) result["model_max_length"] = *length;
  return result;
}

SideFile make_file(const char* name, const OrderedJson& json) {
  return {name, {}, json.dump(2) + "\n"};
}

}  // namespace

std::vector<SideFile> make_tiktoken_files(const std::filesystem::path& path,
                                          const Json& config) {
  const MappedFile file(path);
  if (!is_tiktoken(file.text())) return {};
  const RankedTokenizer ranked = read_tiktoken(file.text(), path.string());
  OrderedJson tokenizer = ranked_tokenizer_json(ranked, true);
  tokenizer["model"]["vocab"] = make_vocab(ranked.tokens);
  tokenizer["model"]["merges"] = make_merges(ranked);
  return {
      make_file("tokenizer.json", tokenizer),
      make_file("tokenizer_config.json", make_tokenizer_config(ranked, config)),
      make_file("generation_config.json",
                {{"bos_token_id", ranked.find(ranked.bos)->id},
                 {"eos_token_id", ranked.eos_ids()}})};
}

}  // namespace llamlx
