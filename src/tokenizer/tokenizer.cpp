#include "tokenizer/tokenizer.h"

#include "llamlx/llamlx.h"
#include "tokenizer/sentencepiece_tokenizer.h"
#include "tokenizer/tokenizer_json.h"

namespace llamlx {

std::unique_ptr<Tokenizer> Tokenizer::load(const TokenizerFiles& files) {
  const bool has_json = files.contains("tokenizer.json");
  const bool has_model = files.contains("tokenizer.model");
  if (has_json) {
    try {
      return load_tokenizer_json(files);
    } catch (const Error& error) {
      if (error.code() != ErrorCode::unsupported || !has_model) throw;
    }
  }
  if (has_model) return load_sentencepiece_tokenizer(files);
  return nullptr;
}

std::string Tokenizer::decode(std::span<const std::int32_t> ids) const {
  const auto stream = decode_stream();
  std::string text;
  for (const std::int32_t id : ids) text += stream->add(id);
  return text + stream->finish();
}

}  // namespace llamlx
