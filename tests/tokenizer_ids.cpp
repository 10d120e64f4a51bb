// What the tokenizer of a model folder makes of texts and ids, for other
// tokenizers to be compared with (see oracles/tokenizer_corpus.py).
//
//     tokenizer_ids FOLDER < questions.json > answers.json
//
// questions.json is an array. A string, and {"bytes": its bytes} where they may
// not be UTF-8, is answered with
//     {"ids": without special tokens, "special": with them,
//      "text": the former decoded, "streamed": the same, id by id}
// and an array of ids with {"text", "streamed"}; null with what is so of the
// tokenizer whatever the text: {"stops": the ids that end an answer, sorted,
// "size": of the vocabulary}.

#include <algorithm>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "tokenizer/tokenizer.h"

namespace {

using Json = nlohmann::json;

Json decoded(const llamlx::Tokenizer& tokenizer,
             const std::vector<std::int32_t>& ids) {
  const auto stream = tokenizer.decode_stream();
  std::string streamed;
  for (const std::int32_t id : ids) streamed += stream->add(id);
  streamed += stream->finish();
  return {{"text", tokenizer.decode(ids)}, {"streamed", streamed}};
}

std::string text_of(const Json& question) {
  if (question.is_string()) return question.get<std::string>();
  std::string text;
  for (const Json& byte : question.at("bytes")) {
    text += static_cast<char>(byte.get<unsigned char>());
  }
  return text;
}

Json answer(const llamlx::Tokenizer& tokenizer, const Json& question) {
  if (question.is_null()) {
    auto stops = tokenizer.eos_ids();
    std::sort(stops.begin(), stops.end());
    return {{"stops", stops}, {"size", tokenizer.vocab_size()}};
  }
  if (question.is_array()) {
    return decoded(tokenizer, question.get<std::vector<std::int32_t>>());
  }
  const std::string text = text_of(question);
  const auto ids = tokenizer.encode(text, false);
  Json result = decoded(tokenizer, ids);
  result["ids"] = ids;
  result["special"] = tokenizer.encode(text, true);
  return result;
}

}  // namespace

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: tokenizer_ids FOLDER < questions.json\n";
    return 2;
  }
  const auto tokenizer =
      llamlx::Tokenizer::load(std::filesystem::path(argv[1]));
  if (tokenizer == nullptr) {
    std::cerr << argv[1] << " holds no tokenizer\n";
    return 1;
  }
  Json answers = Json::array();
  for (const Json& question : Json::parse(std::cin)) {
    answers.push_back(answer(*tokenizer, question));
  }
  std::cout << answers.dump(-1, ' ', true) << "\n";
} catch (const std::exception& error) {
  std::cerr << error.what() << "\n";
  return 1;
}
