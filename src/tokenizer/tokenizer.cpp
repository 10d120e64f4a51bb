#include "tokenizer/tokenizer.h"

#include "base/concat.h"
#include "base/error.h"
#include "llamlx/llamlx.h"
#include "tokenizer/ranked_tokenizer.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/tekken_file.h"
#include "tokenizer/tiktoken_file.h"
#include "tokenizer/tokenizer_json.h"

namespace llamlx {

namespace {

// The name that Mistral gives its SentencePiece models, with a version.
constexpr const char* kVersioned = "tokenizer.model.v";

/// The tokenizer of what is not tokenizer.json, or null.
std::unique_ptr<Tokenizer> load_other(const TokenizerFiles& files) {
  if (files.contains("tokenizer.model")) {
    const auto contents = files.read("tokenizer.model");
    if (!is_tiktoken(contents.text())) {
      return load_sentencepiece_tokenizer(files);
    }
    return make_ranked_tokenizer(
        read_tiktoken(contents.text(), files.subject("tokenizer.model")),
        files);
  }
  if (files.contains("tekken.json")) {
    return make_ranked_tokenizer(read_tekken(files.read("tekken.json").text(),
                                             files.subject("tekken.json")),
                                 files);
  }
  const auto versioned = files.names_with(kVersioned);
  if (versioned.size() > 1) {
    fail(ErrorCode::unsupported, files.subject(versioned[0]),
         concat("is not the only version: ", versioned[1], " is there too"),
         "call the model's own tokenizer.model");
  }
  if (versioned.empty()) return nullptr;
  return load_sentencepiece_tokenizer(files, versioned[0]);
}

}  // namespace

std::unique_ptr<Tokenizer> Tokenizer::load(const TokenizerFiles& files) {
  if (!files.contains("tokenizer.json")) return load_other(files);
  try {
    return load_tokenizer_json(files);
  } catch (const Error& error) {
    if (error.code() != ErrorCode::unsupported) throw;
    auto other = load_other(files);
    if (other == nullptr) throw;
    return other;
  }
}

std::vector<std::int32_t> Tokenizer::eos_ids() const {
  const auto id = eos_id();
  if (!id) return {};
  return {*id};
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  const auto stream = decode_stream();
  std::string text;
  for (const std::int32_t id : ids) text += stream->add(id);
  return text + stream->finish();
}

}  // namespace llamlx
