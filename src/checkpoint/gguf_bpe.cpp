#include "checkpoint/gguf_bpe.h"

#include <string>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/gguf_pre_tokenizer.h"
#include "tokenizer/bpe_json.h"

namespace llamlx {
namespace {

/// The row of the table that the file names. Files that name none are cut as
/// llama.cpp cuts them.
const GgufPreTokenizer& find_pre_tokenizer(const GgufFile& file) {
  const auto name =
      file.get<std::string_view>("tokenizer.ggml.pre").value_or("default");
  if (const auto* found = find_gguf_pre_tokenizer(name)) return *found;
  fail(ErrorCode::unsupported, file.path().string(),
       concat("tokenizer.ggml.pre is \"", name,
              "\", a way of cutting text that is not known"),
       "take the model's safetensors and tokenizer.json instead");
}

OrderedJson make_pre_tokenizer(const GgufPreTokenizer& pre) {
  std::vector<OrderedJson> steps;
  if (pre.digits) {
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  }
  for (const char* split : pre.splits) steps.push_back(split_json(split));
  steps.push_back(byte_level_json(pre.words));
  return pre_tokenizer_json(std::move(steps));
}

OrderedJson make_added_tokens(const GgufVocabulary& vocabulary) {
  auto added = OrderedJson::array();
  for (std::size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    if (!vocabulary.is_added(id)) continue;
    added.push_back(added_token_json(id, vocabulary.tokens()[id],
                                     vocabulary.is_special(id)));
  }
  return added;
}

OrderedJson make_post_processor(const GgufVocabulary& vocabulary,
                                const GgufSpecialTokens& special,
                                const GgufTextEnds& ends) {
  const auto end = [&](bool adds, std::optional<std::int32_t> id) {
    std::optional<TextEnd> found;
    if (adds) {
      found = {*id, vocabulary.tokens()[static_cast<std::size_t>(*id)]};
    }
    return found;
  };
  return text_ends_json(end(ends.add_bos, special.bos),
                        end(ends.add_eos, special.eos));
}

OrderedJson make_vocab(const GgufVocabulary& vocabulary) {
  OrderedJson::object_t vocab;
  vocab.reserve(vocabulary.tokens().size());
  for (std::size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    // The tokens differ, so there is no need for the linear search of [].
    vocab.emplace_back(vocabulary.tokens()[id], id);
  }
  return vocab;
}

[[noreturn]] void fail_merge(const GgufFile& file, std::size_t rank,
                             std::string_view merge, std::string_view cause) {
  fail(ErrorCode::corrupt_file, file.path().string(),
       concat("merge ", rank, " of tokenizer.ggml.merges, \"", merge, "\", ",
              cause),
       "convert the model again with a current llama.cpp");
}

/// Merges stay strings of two parts: byte-level tokens hold no space, and every
/// release of tokenizers reads them so.
OrderedJson make_merges(const GgufFile& file,
                        const GgufVocabulary& vocabulary) {
  const auto merges =
      file.require<std::vector<std::string_view>>("tokenizer.ggml.merges");
  OrderedJson::array_t list;
  list.reserve(merges.size());
  std::string joined;
  for (const auto merge : merges) {
    const auto space = merge.find(' ');
    if (space == std::string_view::npos || merge.rfind(' ') != space) {
      fail_merge(file, list.size(), merge, "is not two tokens");
    }
    const auto left = merge.substr(0, space);
    const auto right = merge.substr(space + 1);
    joined.assign(left).append(right);
    for (const std::string_view part :
         {left, right, std::string_view(joined)}) {
      if (!vocabulary.find(part)) {
        fail_merge(file, list.size(), merge,
                   concat("needs the token \"", part, "\", which is missing"));
      }
    }
    list.emplace_back(merge);
  }
  return list;
}

}  // namespace

OrderedJson make_gguf_bpe(const GgufFile& file,
                          const GgufVocabulary& vocabulary,
                          const GgufSpecialTokens& special,
                          const GgufTextEnds& ends) {
  const auto& pre = find_pre_tokenizer(file);
  return bpe_tokenizer_json({make_added_tokens(vocabulary),
                             pre.nfc ? OrderedJson{{"type", "NFC"}} : nullptr,
                             make_pre_tokenizer(pre),
                             make_post_processor(vocabulary, special, ends),
                             pre.ignore_merges, make_vocab(vocabulary),
                             make_merges(file, vocabulary)});
}

GgufTextEnds read_gguf_text_ends(const GgufFile& file,
                                 const GgufSpecialTokens& special) {
  const bool is_bpe = file.require<std::string_view>("tokenizer.ggml.model") ==
                      std::string_view("gpt2");
  const bool usual = is_bpe ? find_pre_tokenizer(file).add_bos : true;
  const auto says = [&](const char* key, bool otherwise) {
    return file.get<bool>(key).value_or(otherwise);
  };
  return {special.bos && says("tokenizer.ggml.add_bos_token", usual),
          special.eos && says("tokenizer.ggml.add_eos_token", false)};
}

}  // namespace llamlx
