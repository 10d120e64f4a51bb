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
#include "tokenizer/bpe.h"
#include "tokenizer/component.h"
#include "tokenizer/normalizer.h"
#include "tokenizer/oniguruma_pattern.h"
#include "tokenizer/post_processor.h"
#include "tokenizer/pre_tokenizer.h"
#include "tokenizer/token_decoder.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/tokenizer_json_file.h"
#include "tokenizer/utf8.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "correct the file or download it again";

// Runs what may search a text for the patterns of `file`.
template <typename Action>
auto searching(const std::string& file, Action action) {
  try {
    return action();
  } catch (const PatternError& error) {
    fail(ErrorCode::unsupported, file,
         concat("one of its regular expressions ", error.what()),
         "use a model with another tokenizer");
  }
}

// The parts of a tokenizer, as tokenizer.json lists them.
struct Parts {
  std::string file;
  std::unique_ptr<Normalizer> normalizer;       // null: none
  std::unique_ptr<PreTokenizer> pre_tokenizer;  // null: none
  Bpe model;
  PostProcessor post_processor;
  TokenDecoder decoder;
  AddedVocabulary added;
  std::optional<std::int32_t> bos_id = {};
  std::optional<std::int32_t> eos_id = {};
};

class TokenizerJson : public Tokenizer {
 public:
  explicit TokenizerJson(Parts parts) : parts_(std::move(parts)) {}

  std::vector<std::int32_t> encode(std::string_view text,
                                   bool add_special_tokens) const override;
  std::unique_ptr<DecodeStream> decode_stream() const override;

  int vocab_size() const override {
    return std::max(parts_.model.vocabulary().id_end(), parts_.added.id_end());
  }
  std::optional<std::int32_t> bos_id() const override { return parts_.bos_id; }
  std::optional<std::int32_t> eos_id() const override { return parts_.eos_id; }
  bool is_special(std::int32_t id) const override {
    return parts_.added.is_special(id);
  }

  const std::string& file() const { return parts_.file; }

  // What the decoder is given for `id`; empty for ids that are left out.
  std::optional<std::string> decoded_token(std::int32_t id) const;

 private:
  void encode_segment(NormalizedText text,
                      std::vector<std::int32_t>& ids) const;
  void encode_words(NormalizedText text, std::vector<std::int32_t>& ids) const;

  Parts parts_;
};

class TokenizerJsonStream : public DecodeStream {
 public:
  TokenizerJsonStream(const TokenizerJson& tokenizer,
                      const TokenDecoder& decoder)
      : tokenizer_(tokenizer), steps_(decoder.start()) {}

  std::string add(std::int32_t id) override {
    auto token = tokenizer_.decoded_token(id);
    if (!token) return {};
    return searching(tokenizer_.file(),
                     [&] { return run(0, {*std::move(token)}); });
  }

  std::string finish() override {
    std::string text;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      std::vector<std::string> rest;
      steps_[i]->finish(rest);
      text += searching(tokenizer_.file(),
                        [&] { return run(i + 1, std::move(rest)); });
    }
    return text;
  }

 private:
  // Passes tokens through the steps from `first` on.
  std::string run(std::size_t first, std::vector<std::string> tokens) {
    for (std::size_t i = first; i < steps_.size(); ++i) {
      std::vector<std::string> out;
      for (std::string& token : tokens) steps_[i]->add(std::move(token), out);
      tokens = std::move(out);
    }
    std::string text;
    for (const std::string& token : tokens) text += token;
    return text;
  }

  const TokenizerJson& tokenizer_;
  std::vector<std::unique_ptr<DecodeStep>> steps_;
};

std::vector<std::int32_t> TokenizerJson::encode(std::string_view text,
                                                bool add_special_tokens) const {
  const std::string valid = replace_ill_formed(text);
  std::vector<std::int32_t> ids;
  searching(parts_.file, [&] {
    for (const TextSegment& segment : parts_.added.split_raw(valid)) {
      if (segment.id != TextSegment::kText) {
        ids.push_back(segment.id);
      } else {
        encode_segment(
            {valid.substr(segment.begin, segment.end - segment.begin),
             segment.begin == 0},
            ids);
      }
    }
  });
  return parts_.post_processor.apply(std::move(ids), add_special_tokens);
}

void TokenizerJson::encode_segment(NormalizedText text,
                                   std::vector<std::int32_t>& ids) const {
  if (parts_.normalizer) parts_.normalizer->apply(text);
  for (const TextSegment& segment : parts_.added.split_normalized(text.text)) {
    if (segment.id != TextSegment::kText) {
      ids.push_back(segment.id);
    } else {
      encode_words(
          {text.text.substr(segment.begin, segment.end - segment.begin),
           text.at_start && segment.begin == 0},
          ids);
    }
  }
}

void TokenizerJson::encode_words(NormalizedText text,
                                 std::vector<std::int32_t>& ids) const {
  SplitText words(std::move(text));
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(words);
  for (const SplitText::Piece& piece : words.pieces) {
    if (!parts_.model.encode(words.view(piece), ids)) {
      fail(ErrorCode::mismatch, parts_.file,
           "model.vocab has neither a character of the text nor the unk_token",
           kRemedy);
    }
  }
}

std::optional<std::string> TokenizerJson::decoded_token(std::int32_t id) const {
  if (const std::string* text = parts_.added.text(id)) {
    if (parts_.added.is_special(id)) return {};
    return *text;
  }
  const Vocabulary& vocabulary = parts_.model.vocabulary();
  if (!vocabulary.contains(id)) return {};
  return std::string(vocabulary.token(id));
}

std::unique_ptr<DecodeStream> TokenizerJson::decode_stream() const {
  return std::make_unique<TokenizerJsonStream>(*this, parts_.decoder);
}

// ---- Loading

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

std::unique_ptr<Tokenizer> load_tokenizer_json(const TokenizerFiles& files) {
  const std::string file = files.subject("tokenizer.json");
  TokenizerJsonFile json =
      read_tokenizer_json(files.read("tokenizer.json").text(), file);
  const auto version = json_get<std::string>(json.root, "version", file);
  if (version.value_or("1.0") != "1.0") {
    fail(ErrorCode::unsupported, file, concat("has the version ", *version),
         "use a tokenizer.json of version 1.0");
  }
  Parts parts{file, nullptr, nullptr, make_model(json, file), {}, {}, {}};
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
  const TokenizerConfig config = read_tokenizer_config(files);
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
  return std::make_unique<TokenizerJson>(std::move(parts));
}

}  // namespace llamlx
