#include "tokenizer/tokenizer_json.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/error.h"
#include "tokenizer/added_vocabulary.h"
#include "tokenizer/component.h"
#include "tokenizer/searching.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "correct the file or download it again";

MergeTable make_merges(const TokenizerJsonFile& json, const std::string& file) {
  MergeTable table(json.merges.size());
  const auto id_of = [&](std::string_view token) {
    if (const auto id = json.vocabulary.find(token)) return *id;
    fail(ErrorCode::corrupt_file, file,
         concat("model.merges names \"", token, "\", which model.vocab lacks"),
         kRemedy);
  };
  for (std::size_t i = 0; i < json.merges.size(); ++i) {
    table.add(id_of(json.merges.left(i)), id_of(json.merges.right(i)),
              {static_cast<std::int32_t>(i), id_of(json.merges.joined(i))});
  }
  return table;
}

Bpe make_model(TokenizerJsonFile& json, const std::string& file) {
  const auto model = json.root.find("model");
  if (model == json.root.end()) {
    fail(ErrorCode::corrupt_file, file, "lacks \"model\"", kRemedy);
  }
  // Files of old have no type.
  const bool complete = json.has_vocabulary && json.has_merges;
  if (complete && model->is_object() && !model->contains("type")) {
    (*model)["type"] = "BPE";
  }
  const Component component(*model, file, "model");
  if (component.type() != "BPE") {
    component.unsupported(
        concat("the type \"", component.type(),
               "\" is not supported; put the tokenizer.model beside it if the "
               "model has one"));
  }
  if (!complete) component.corrupt("lacks \"vocab\" or \"merges\"");
  for (const char* affix :
       {"continuing_subword_prefix", "end_of_word_suffix"}) {
    if (!component.optional<std::string>(affix).value_or("").empty()) {
      component.unsupported(concat("\"", affix, "\" is not supported"));
    }
  }
  if (component.optional<double>("dropout").value_or(0) != 0) {
    component.unsupported("\"dropout\" makes ids random");
  }
  const auto flag = [&](const char* name) {
    return component.optional<bool>(name).value_or(false);
  };
  BpeOptions options{component.optional<std::string>("unk_token"),
                     flag("fuse_unk"), flag("byte_fallback"),
                     flag("ignore_merges")};
  MergeTable merges = make_merges(json, file);
  return Bpe(std::move(json.vocabulary), std::move(merges), std::move(options));
}

// The component called `key`, when there is one.
std::optional<Component> find_component(const Json& root,
                                        const std::string& key,
                                        const std::string& file) {
  const auto found = root.find(key);
  if (found == root.end() || found->is_null()) return {};
  return Component(*found, file, key);
}

AddedToken read_added_token(const Json& json, const std::string& subject) {
  AddedToken token;
  const auto flag = [&](const char* name, bool fallback) {
    return json_get<bool>(json, name, subject).value_or(fallback);
  };
  if (!json.is_object()) {
    fail(ErrorCode::corrupt_file, subject, "should be an object", kRemedy);
  }
  const auto content = json_get<std::string>(json, "content", subject);
  const auto id = json_get<int>(json, "id", subject);
  if (!content || !id || *id < 0 || *id >= Vocabulary::kIdLimit) {
    fail(ErrorCode::corrupt_file, subject,
         "lacks \"content\", or an \"id\" that could be one", kRemedy);
  }
  token.content = *content;
  token.id = *id;
  token.single_word = flag("single_word", false);
  token.lstrip = flag("lstrip", false);
  token.rstrip = flag("rstrip", false);
  token.special = flag("special", false);
  token.normalized = flag("normalized", !token.special);
  return token;
}

void check_against(const Vocabulary& vocabulary, const AddedToken& token,
                   const std::string& subject) {
  const auto known = vocabulary.find(token.content);
  const bool other = !known && vocabulary.contains(token.id);
  if ((!known || *known == token.id) && !other) return;
  fail(ErrorCode::corrupt_file, subject,
       known ? concat("has the id ", token.id, ", but in model.vocab ", *known)
             : concat("has the id of \"", vocabulary.token(token.id), "\""),
       kRemedy);
}

AddedVocabulary read_added_tokens(const Json& root, const std::string& file,
                                  const Vocabulary& vocabulary,
                                  const Normalizer* normalizer) {
  AddedVocabulary added;
  const auto list = root.find("added_tokens");
  if (list == root.end() || list->is_null()) return added;
  if (!list->is_array()) {
    fail(ErrorCode::corrupt_file, file, "\"added_tokens\" should be an array",
         kRemedy);
  }
  std::size_t index = 0;
  for (const Json& json : *list) {
    const std::string place = concat(file, ": added_tokens[", index++, "]");
    const AddedToken token = read_added_token(json, place);
    const std::string subject = concat(place, " \"", token.content, "\"");
    check_against(vocabulary, token, subject);
    NormalizedText written{token.content};
    if (token.normalized && normalizer != nullptr) {
      searching(subject, [&] { normalizer->apply(written); });
    }
    if (const char* fault = added.add(token, std::move(written.text))) {
      fail(ErrorCode::corrupt_file, subject, fault, kRemedy);
    }
  }
  return added;
}

}  // namespace

BpeTokenizerParts assemble_tokenizer(TokenizerJsonFile json,
                                     const std::string& file,
                                     const TokenizerConfig& config) {
  const auto version = json_get<std::string>(json.root, "version", file);
  if (version.value_or("1.0") != "1.0") {
    fail(ErrorCode::unsupported, file, concat("has the version ", *version),
         "use a tokenizer.json of version 1.0");
  }
  BpeTokenizerParts parts{file, nullptr, nullptr, make_model(json, file),
                          {},   {},      {}};
  const auto component = [&](const char* key) {
    return find_component(json.root, key, file);
  };
  if (const auto c = component("normalizer")) {
    parts.normalizer = make_normalizer(*c);
  }
  if (const auto c = component("pre_tokenizer")) {
    parts.pre_tokenizer = make_pre_tokenizer(*c);
  }
  if (const auto c = component("post_processor")) {
    parts.post_processor = PostProcessor(*c);
  }
  if (const auto c = component("decoder")) parts.decoder = TokenDecoder(*c);

  const Vocabulary& vocabulary = parts.model.vocabulary();
  parts.added =
      read_added_tokens(json.root, file, vocabulary, parts.normalizer.get());
  const auto id_of = [&](const std::optional<std::string>& token) {
    if (!token) return std::optional<std::int32_t>();
    const auto id = parts.added.find(*token);
    return id ? id : vocabulary.find(*token);
  };
  if (parts.post_processor.id_end() >
      std::max(vocabulary.id_end(), parts.added.id_end())) {
    fail(ErrorCode::corrupt_file, file,
         concat("post_processor adds the id ",
                parts.post_processor.id_end() - 1, ", which no token has"),
         kRemedy);
  }
  parts.bos_id = id_of(config.bos_token);
  parts.eos_id = id_of(config.eos_token);
  if (parts.eos_id) parts.eos_ids = {*parts.eos_id};
  return parts;
}

std::unique_ptr<Tokenizer> load_tokenizer_json(const TokenizerFiles& files) {
  const std::string file = files.subject("tokenizer.json");
  TokenizerJsonFile json =
      read_tokenizer_json(files.read("tokenizer.json").text(), file);
  return make_bpe_tokenizer(
      assemble_tokenizer(std::move(json), file, read_tokenizer_config(files)));
}

}  // namespace llamlx
