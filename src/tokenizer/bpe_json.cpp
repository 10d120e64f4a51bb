#include "tokenizer/bpe_json.h"

#include <utility>

namespace llamlx {

OrderedJson byte_level_json(bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", false},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

OrderedJson split_json(std::string_view regex, bool keeps_gaps) {
  return {{"type", "Split"},
          {"pattern", {{"Regex", regex}}},
          {"behavior", keeps_gaps ? "Isolated" : "Removed"},
          {"invert", !keeps_gaps}};
}

OrderedJson pre_tokenizer_json(std::vector<OrderedJson> steps) {
  if (steps.size() == 1) return std::move(steps.front());
  return {{"type", "Sequence"}, {"pretokenizers", std::move(steps)}};
}

OrderedJson added_token_json(std::size_t id, std::string_view content,
                             bool special) {
  return {{"id", id},          {"content", content}, {"single_word", false},
          {"lstrip", false},   {"rstrip", false},    {"normalized", false},
          {"special", special}};
}

OrderedJson text_ends_json(const std::optional<TextEnd>& bos,
                           const std::optional<TextEnd>& eos) {
  if (!bos && !eos) return nullptr;
  auto single = OrderedJson::array();
  auto pair = OrderedJson::array();
  auto tokens = OrderedJson::object();
  const auto add_end = [&](OrderedJson& list, const TextEnd& end, int type) {
    list.push_back(
        {{"SpecialToken", {{"id", end.content}, {"type_id", type}}}});
    tokens[std::string(end.content)] = {
        {"id", end.content},
        {"ids", OrderedJson::array({static_cast<std::uint32_t>(end.id)})},
        {"tokens", OrderedJson::array({end.content})}};
  };
  const auto add_text = [&](OrderedJson& list, const char* name, int type) {
    if (bos) add_end(list, *bos, type);
    list.push_back({{"Sequence", {{"id", name}, {"type_id", type}}}});
    if (eos) add_end(list, *eos, type);
  };
  add_text(single, "A", 0);
  add_text(pair, "A", 0);
  add_text(pair, "B", 1);
  return {{"type", "TemplateProcessing"},
          {"single", std::move(single)},
          {"pair", std::move(pair)},
          {"special_tokens", std::move(tokens)}};
}

OrderedJson bpe_tokenizer_json(BpeJsonParts parts) {
  OrderedJson model = {{"type", "BPE"},
                       {"dropout", nullptr},
                       {"unk_token", nullptr},
                       {"continuing_subword_prefix", nullptr},
                       {"end_of_word_suffix", nullptr},
                       {"fuse_unk", false},
                       {"byte_fallback", false},
                       {"ignore_merges", parts.ignore_merges},
                       {"vocab", std::move(parts.vocab)},
                       {"merges", std::move(parts.merges)}};
  return {{"version", "1.0"},
          {"truncation", nullptr},
          {"padding", nullptr},
          {"added_tokens", std::move(parts.added_tokens)},
          {"normalizer", std::move(parts.normalizer)},
          {"pre_tokenizer", std::move(parts.pre_tokenizer)},
          {"post_processor", std::move(parts.post_processor)},
          {"decoder", byte_level_json(true)},
          {"model", std::move(model)}};
}

}  // namespace llamlx
