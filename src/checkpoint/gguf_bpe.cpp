#include "checkpoint/gguf_bpe.h"

#include <string>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/gguf_pre_tokenizer.h"

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

OrderedJson byte_level(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

OrderedJson make_pre_tokenizer(const GgufPreTokenizer& pre) {
  auto steps = OrderedJson::array();
  if (pre.digits) {
    steps.push_back({{"type", "Digits"}, {"individual_digits", true}});
  }
  for (const char* split : pre.splits) {
    steps.push_back({{"type", "Split"},
                     {"pattern", {{"Regex", split}}},
                     {"behavior", "Isolated"},
                     {"invert", false}});
  }
  steps.push_back(byte_level(pre.words));
  if (steps.size() == 1) return steps.front();
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

OrderedJson make_added_tokens(const GgufVocabulary& vocabulary) {
  auto added = OrderedJson::array();
  for (std::size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    if (!vocabulary.is_added(id)) continue;
    added.push_back({{"id", id},
                     {"content", vocabulary.tokens()[id]},
                     {"single_word", false},
                     {"lstrip", false},
                     {"rstrip", false},
                     {"normalized", false},
                     {"special", vocabulary.is_special(id)}});
  }
  return added;
}

/// Puts BOS and EOS around a text, and around each of two.
OrderedJson make_post_processor(const GgufVocabulary& vocabulary,
                                const GgufSpecialTokens& special,
                                const GgufTextEnds& ends) {
  auto single = OrderedJson::array();
  auto pair = OrderedJson::array();
  auto tokens = OrderedJson::object();
  const auto add_token = [&](OrderedJson& list, std::int32_t id, int type) {
    const auto& text = vocabulary.tokens()[static_cast<std::size_t>(id)];
    list.push_back({{"SpecialToken", {{"id", text}, {"type_id", type}}}});
    tokens[text] = {{"id", text},
                    {"ids", OrderedJson::array({id})},
                    {"tokens", OrderedJson::array({text})}};
  };
  const auto add_text = [&](OrderedJson& list, const char* name, int type) {
    if (ends.add_bos) add_token(list, *special.bos, type);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    if (ends.add_eos) add_token(list, *special.eos, type);
  };
  if (!ends.add_bos && !ends.add_eos) return nullptr;
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add_text(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(tokens)}};
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

OrderedJson make_model(const GgufFile& file, const GgufVocabulary& vocabulary,
                       const GgufPreTokenizer& pre) {
  return {{"type", "BPE"},
          {"dropout", nullptr},
          {"unk_token", nullptr},
          {"continuing_subword_prefix", nullptr},
          {"end_of_word_suffix", nullptr},
          {"fuse_unk", false},
          {"byte_fallback", false},
          {"ignore_merges", pre.ignore_merges},
          {"vocab", make_vocab(vocabulary)},
          {"merges", make_merges(file, vocabulary)}};
}

}  // namespace

OrderedJson make_gguf_bpe(const GgufFile& file,
                          const GgufVocabulary& vocabulary,
                          const GgufSpecialTokens& special,
                          const GgufTextEnds& ends) {
  const auto& pre = find_pre_tokenizer(file);
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", make_added_tokens(vocabulary)},
          {"normalizer", pre.nfc ? OrderedJson{{"type", "NFC"}} : nullptr},
          {"pre_tokenizer", make_pre_tokenizer(pre)},
          {"post_processor", make_post_processor(vocabulary, special, ends)},
          {"decoder", byte_level(true)},
          {"model", make_model(file, vocabulary, pre)}};
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
