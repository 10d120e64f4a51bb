#include "checkpoint/gguf_tokenizer.h"

#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/gguf_bpe.h"
#include "checkpoint/gguf_sentencepiece.h"
#include "checkpoint/gguf_special_tokens.h"
#include "checkpoint/gguf_vocabulary.h"

namespace llamlx {
namespace {

std::string_view tokenizer_model(const GgufFile& file) {
  const auto model = file.get<std::string_view>("tokenizer.ggml.model");
  return model && *model != "no_vocab" && *model != "none" ? *model : "";
}

std::string to_text(const GgufFile& file, const OrderedJson& json) {
  try {
    return json.dump(2) + "\n";
  } catch (const OrderedJson::type_error&) {
    fail(ErrorCode::corrupt_file, file.path().string(),
         "the tokenizer's tokens or chat template are not UTF-8",
         "convert the model again with a current llama.cpp");
  }
}

/// Tokens that SentencePiece would not find in a text, for transformers to
/// find.
OrderedJson make_added_tokens_decoder(const GgufVocabulary& vocabulary) {
  auto added = OrderedJson::object();
  for (std::size_t id = 0; id < vocabulary.tokens().size(); ++id) {
    if (!vocabulary.is_added(id)) continue;
    added[std::to_string(id)] = {{"content", vocabulary.tokens()[id]},
                                 {"lstrip", false},
                                 {"normalized", false},
                                 {"rstrip", false},
                                 {"single_word", false},
                                 {"special", vocabulary.is_special(id)}};
  }
  return added;
}

OrderedJson make_tokenizer_config(const GgufFile& file, const Json& config,
                                  const GgufVocabulary& vocabulary,
                                  const GgufSpecialTokens& special,
                                  const GgufTextEnds& ends) {
  OrderedJson result;
  const auto name = [&](const char* key, std::optional<std::int32_t> id) {
    if (id) result[key] = vocabulary.tokens()[static_cast<std::size_t>(*id)];
  };
  result["add_bos_token"] = ends.add_bos;
  result["add_eos_token"] = ends.add_eos;
  name("bos_token", special.bos);
  name("eos_token", special.eos);
  name("unk_token", special.unk);
  name("pad_token", special.pad);
  result["clean_up_tokenization_spaces"] = false;
  if (config.contains("max_position_embeddings")) {
    result["model_max_length"] =
        config["max_position_embeddings"].get<std::int64_t>();
  }
  const auto chat_template =
      file.get<std::string_view>("tokenizer.chat_template");
  if (chat_template) result["chat_template"] = *chat_template;
  return result;
}

std::vector<SideFile> make_files(const GgufFile& file, const Json& config,
                                 const GgufSpecialTokens& special) {
  const auto model = tokenizer_model(file);
  if (model != "gpt2" && model != "llama") {
    fail(ErrorCode::unsupported, file.path().string(),
         concat("the tokenizer is a \"", model, '"'),
         "tokenizers of the kinds \"gpt2\" and \"llama\" can be read");
  }
  const GgufVocabulary vocabulary(file);
  const auto ends = read_gguf_text_ends(file, special);
  auto settings =
      make_tokenizer_config(file, config, vocabulary, special, ends);
  SideFile tokenizer;
  if (model == "gpt2") {
    settings["tokenizer_class"] = "PreTrainedTokenizerFast";
    const auto json = make_gguf_bpe(file, vocabulary, special, ends);
    tokenizer = {"tokenizer.json", {}, to_text(file, json)};
  } else {
    settings["tokenizer_class"] = "LlamaTokenizer";
    // llama.cpp puts the space before every part of a text that begins it or
    // follows a special token, which transformers calls legacy.
    settings["legacy"] = true;
    settings["add_prefix_space"] = adds_space_prefix(file);
    settings["added_tokens_decoder"] = make_added_tokens_decoder(vocabulary);
    tokenizer = {"tokenizer.model",
                 {},
                 make_gguf_sentencepiece(file, vocabulary, special)};
  }
  return {std::move(tokenizer),
          {"tokenizer_config.json", {}, to_text(file, settings)}};
}

}  // namespace

std::vector<SideFile> make_gguf_tokenizer_files(const GgufFile& file,
                                                const Json& config) {
  const auto special = read_gguf_special_tokens(file);
  std::vector<SideFile> files;
  if (!tokenizer_model(file).empty()) {
    files = make_files(file, config, special);
  }
  OrderedJson generation;
  if (special.bos) generation["bos_token_id"] = *special.bos;
  if (!special.eos_ids.empty()) {
    generation["eos_token_id"] = OrderedJson(special.eos_json());
  }
  if (special.pad) generation["pad_token_id"] = *special.pad;
  if (!generation.is_null()) {
    files.push_back({"generation_config.json", {}, to_text(file, generation)});
  }
  return files;
}

std::vector<std::string> gguf_tokenizer_notices(const GgufFile& file) {
  if (tokenizer_model(file).empty()) {
    return {"the file holds no tokenizer"};
  }
  auto notices = read_gguf_special_tokens(file).notices;
  const bool is_bpe = tokenizer_model(file) == "gpt2";
  if (is_bpe && file.find_value("tokenizer.ggml.pre") == nullptr) {
    notices.push_back(
        "the tokenizer does not say how it cuts text (tokenizer.ggml.pre): it "
        "is cut as llama.cpp does by default, which may not be as the model "
        "was trained");
  }
  return notices;
}

}  // namespace llamlx
