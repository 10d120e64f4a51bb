#include "tokenizer/tokenizer_json.h"

#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::added_token;
using testing::byte_level_tokenizer;
using testing::error_of;
using testing::Ids;
using testing::TokenizerFolder;

// Loads what must be refused, and returns the words.
std::string refusal(ErrorCode code, const Json& tokenizer_json) {
  const TokenizerFolder folder(tokenizer_json);
  const std::string message = error_of(code, [&] { folder.load(); });
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
  return message;
}

std::string refusal_of_text(const std::string& text) {
  const TokenizerFolder folder("tokenizer.json", text);
  return error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
}

TEST(TokenizerJsonTest, EncodesAndDecodes) {
  const auto tokenizer =
      TokenizerFolder(byte_level_tokenizer({"a b", "ab c"})).load();
  EXPECT_EQ(tokenizer->encode("abcab", true), (Ids{257, 256}));
  EXPECT_EQ(tokenizer->decode(Ids{257, 256}), "abcab");
  EXPECT_EQ(tokenizer->vocab_size(), 258);
  EXPECT_EQ(tokenizer->encode("", true), Ids{});
  EXPECT_EQ(tokenizer->decode({}), "");
}

TEST(TokenizerJsonTest, TakesAnyBytes) {
  const auto tokenizer = TokenizerFolder(byte_level_tokenizer()).load();
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all += static_cast<char>(byte);
  const std::string text = tokenizer->decode(tokenizer->encode(all, false));
  EXPECT_EQ(text.substr(0, 128), all.substr(0, 128));
  EXPECT_EQ(text.size(), 128u + 128 * 3);  // U+FFFD for each of the others
}

TEST(TokenizerJsonTest, RecognisesAddedTokensAndLeavesSpecialOnesOut) {
  Json json = byte_level_tokenizer();
  json["added_tokens"] = Json::array(
      {added_token(300, "<s>"), added_token(301, "<t>", {{"special", false}})});
  const auto tokenizer = TokenizerFolder(json).load();
  EXPECT_EQ(tokenizer->encode("a<s>b<t>", false), (Ids{'a', 300, 'b', 301}));
  EXPECT_EQ(tokenizer->decode(Ids{'a', 300, 'b', 301}), "ab<t>");
  EXPECT_TRUE(tokenizer->is_special(300));
  EXPECT_FALSE(tokenizer->is_special(301));
  EXPECT_EQ(tokenizer->vocab_size(), 302);
}

TEST(TokenizerJsonTest, IdsWithoutATokenAddNothing) {
  Json json = byte_level_tokenizer();
  json["added_tokens"] =
      Json::array({added_token(300, "<s>", {{"special", false}})});
  const auto tokenizer = TokenizerFolder(json).load();
  EXPECT_EQ(tokenizer->decode(Ids{'a', 299, -1, 302, 2'000'000'000, 'b'}),
            "ab");
  EXPECT_FALSE(tokenizer->is_special(-1));
}

TEST(TokenizerJsonTest, SeeksNormalizedTokensInNormalizedText) {
  Json json = byte_level_tokenizer();
  json["normalizer"] = {{"type", "Lowercase"}};
  json["added_tokens"] = Json::array(
      {added_token(300, "Yes", {{"normalized", true}, {"special", false}}),
       added_token(301, "No", {{"normalized", false}, {"special", false}})});
  const auto tokenizer = TokenizerFolder(json).load();
  EXPECT_EQ(tokenizer->encode("YESNoNO", false), (Ids{300, 301, 'n', 'o'}));
  EXPECT_EQ(tokenizer->decode(Ids{300, 301}), "yesNo");
}

TEST(TokenizerJsonTest, StreamsWholeCharacters) {
  const auto tokenizer = TokenizerFolder(byte_level_tokenizer()).load();
  const auto stream = tokenizer->decode_stream();
  EXPECT_EQ(stream->add(0xE4), "");
  EXPECT_EQ(stream->add(0xB8), "");
  EXPECT_EQ(stream->add(0xAD), "\xE4\xB8\xAD");
  EXPECT_EQ(stream->add(0xC3), "");
  EXPECT_EQ(stream->add('a'), "\xEF\xBF\xBD\x61");
  EXPECT_EQ(stream->add(0xF0), "");
  EXPECT_EQ(stream->finish(), "\xEF\xBF\xBD");
}

TEST(TokenizerJsonTest, ReadsMergesInBothForms) {
  Json json = byte_level_tokenizer({"a b"});
  json["model"]["merges"] = testing::parse(R"([["a", "b"]])");
  EXPECT_EQ(TokenizerFolder(json).load()->encode("ab", false), (Ids{256}));
}

TEST(TokenizerJsonTest, ReadsModelsThatNameNoType) {
  Json json = byte_level_tokenizer({"a b"});
  json["model"].erase("type");
  EXPECT_EQ(TokenizerFolder(json).load()->encode("ab", false), (Ids{256}));
}

TEST(TokenizerJsonTest, TakesBosAndEosFromTheConfig) {
  TokenizerFolder folder(byte_level_tokenizer());
  folder.with("tokenizer_config.json",
              {{"bos_token", "a"}, {"eos_token", {{"content", "b"}}}});
  EXPECT_EQ(folder.load()->bos_id(), 'a');
  EXPECT_EQ(folder.load()->eos_id(), 'b');
  folder.with("tokenizer_config.json", Json::object())
      .with("special_tokens_map.json", {{"eos_token", "c"}});
  EXPECT_EQ(folder.load()->bos_id(), std::nullopt);
  EXPECT_EQ(folder.load()->eos_id(), 'c');
}

TEST(TokenizerJsonTest, RefusesOtherModelsByName) {
  for (const char* type : {"WordPiece", "WordLevel", "Unigram"}) {
    Json json = byte_level_tokenizer();
    json["model"] = {{"type", type}};
    if (std::string(type) == "Unigram") {
      json["model"]["vocab"] = testing::parse(R"([["<unk>", 0], ["a", -1]])");
    } else {
      json["model"]["vocab"] = {{"a", 0}};
    }
    EXPECT_NE(refusal(ErrorCode::unsupported, json).find(type),
              std::string::npos);
  }
}

TEST(TokenizerJsonTest, RefusesOptionsItDoesNotHave) {
  for (const auto& [key, value] :
       {std::pair{"continuing_subword_prefix", Json("##")},
        std::pair{"end_of_word_suffix", Json("</w>")},
        std::pair{"dropout", Json(0.1)}}) {
    Json json = byte_level_tokenizer();
    json["model"][key] = value;
    EXPECT_NE(refusal(ErrorCode::unsupported, json).find(key),
              std::string::npos);
    json["model"][key] = nullptr;
    EXPECT_NE(TokenizerFolder(json).load(), nullptr);
  }
  Json json = byte_level_tokenizer();
  json["version"] = "2.0";
  refusal(ErrorCode::unsupported, json);
}

TEST(TokenizerJsonTest, NamesTheComponentItCannotRead) {
  for (const char* key :
       {"normalizer", "pre_tokenizer", "post_processor", "decoder"}) {
    Json json = byte_level_tokenizer();
    json[key] = {{"type", "Nonsense"}};
    const auto message = refusal(ErrorCode::unsupported, json);
    EXPECT_NE(message.find(std::string(key) + " Nonsense"), std::string::npos)
        << message;
    json[key] = 7;
    EXPECT_NE(refusal(ErrorCode::corrupt_file, json).find(key),
              std::string::npos);
  }
}

TEST(TokenizerJsonTest, RefusesBrokenModels) {
  const auto with = [](const char* key, const char* value) {
    Json json = byte_level_tokenizer();
    json["model"][key] = testing::parse(value);
    return json;
  };
  for (const Json& json : {with("vocab", "3"),
                           with("merges", "3"),
                           with("merges", R"(["ab"])"),
                           with("merges", R"(["a b c"])"),
                           with("merges", R"([["a"]])"),
                           with("merges", R"([["a", "b", "c"]])"),
                           with("merges", R"([["a", 1]])"),
                           with("merges", "[1]"),
                           with("merges", "[[[]]]"),
                           with("merges", "[{}]"),
                           with("vocab", R"({"a": "0"})"),
                           with("vocab", R"({"a": -1})"),
                           with("vocab", R"({"a": 1.5})"),
                           with("vocab", R"({"a": null})"),
                           with("vocab", R"({"a": []})"),
                           with("vocab", R"({"a": 4194304})"),
                           with("vocab", R"({"a": 18446744073709551615})"),
                           with("vocab", R"({"a": 0, "b": 0})"),
                           with("type", "3"),
                           with("unk_token", "3"),
                           with("byte_fallback", R"("yes")")}) {
    refusal(ErrorCode::corrupt_file, json);
  }
  Json json = byte_level_tokenizer();
  json["model"]["merges"] = {"a \xE4\xB8\xAD"};
  EXPECT_NE(refusal(ErrorCode::corrupt_file, json).find("\xE4\xB8\xAD"),
            std::string::npos);
  json = byte_level_tokenizer();
  json["model"]["merges"] = {"a b"};  // "ab" has no id
  EXPECT_NE(refusal(ErrorCode::corrupt_file, json).find("\"ab\""),
            std::string::npos);
  json.erase("model");
  refusal(ErrorCode::corrupt_file, json);
}

TEST(TokenizerJsonTest, RefusesBrokenAddedTokens) {
  using Tokens = std::vector<Json>;
  for (const Tokens& tokens :
       {Tokens{3}, Tokens{testing::parse(R"({"id": 300})")},
        Tokens{testing::parse(R"({"content": "<s>"})")},
        Tokens{added_token(-1, "<s>")}, Tokens{added_token(1 << 22, "<s>")},
        Tokens{added_token(300, "")},
        Tokens{added_token(300, "<s>"), added_token(300, "<t>")},
        Tokens{added_token(300, "<s>"), added_token(301, "<s>")},
        Tokens{added_token(300, "a")},    // the vocabulary has it elsewhere
        Tokens{added_token('a', "<s>")},  // the id is another token's
        Tokens{added_token(300, std::string(2000, 'x'))},
        Tokens{added_token(300, "<s>", {{"special", 1}})}}) {
    Json json = byte_level_tokenizer();
    json["added_tokens"] = tokens;
    const auto message = refusal(ErrorCode::corrupt_file, json);
    EXPECT_NE(message.find("added_tokens["), std::string::npos) << message;
  }
  Json json = byte_level_tokenizer();
  json["added_tokens"] = 3;
  refusal(ErrorCode::corrupt_file, json);
}

TEST(TokenizerJsonTest, RefusesWhatIsNotJson) {
  const std::string whole = byte_level_tokenizer({"a b"}).dump();
  for (const std::size_t size :
       {std::size_t{0}, std::size_t{1}, whole.size() / 2, whole.size() - 1}) {
    refusal_of_text(whole.substr(0, size));
  }
  refusal_of_text("[1, 2]");
  refusal_of_text("7");
  refusal_of_text("{\"a\": \"\xFF\"}");
  EXPECT_NE(refusal_of_text(std::string(1'000'000, '[')).find("nests"),
            std::string::npos);
  std::string deep = "{\"model\": {\"vocab\": ";
  for (int i = 0; i < 1'000'000; ++i) deep += "{\"a\":";
  refusal_of_text(deep);
  refusal_of_text("{\"model\": {\"vocab\": " + std::string(1'000'000, '['));
  refusal_of_text("{\"model\": {\"merges\": " + std::string(1'000'000, '['));
}

TEST(TokenizerJsonTest, RefusesATokenListedTwice) {
  EXPECT_NE(refusal_of_text(R"({"model": {"type": "BPE", "merges": [],
                                "vocab": {"a": 0, "b": 1, "a": 2}}})")
                .find("twice"),
            std::string::npos);
}

TEST(TokenizerJsonTest, SaysWhichFileLacksTheUnknownToken) {
  Json json = byte_level_tokenizer();
  json.erase("pre_tokenizer");
  json["model"]["unk_token"] = "<none>";
  const auto tokenizer = TokenizerFolder(json).load();
  EXPECT_EQ(tokenizer->encode("abc", false), (Ids{'a', 'b', 'c'}));
  error_of(ErrorCode::mismatch,
           [&] { tokenizer->encode("\xE4\xB8\xAD", false); });
}

TEST(TokenizerJsonTest, RefusesTemplatesWithIdsThatNoTokenHas) {
  Json json = byte_level_tokenizer();
  json["post_processor"] = testing::parse(
      R"({"type": "TemplateProcessing",
          "single": [{"SpecialToken": {"id": "s"}}],
          "special_tokens": {"s": {"ids": [255]}}})");
  EXPECT_EQ(TokenizerFolder(json).load()->encode("a", true), (Ids{255}));
  json["post_processor"]["special_tokens"]["s"]["ids"] = {256};
  EXPECT_NE(refusal(ErrorCode::corrupt_file, json).find("256"),
            std::string::npos);
}

TEST(TokenizerJsonTest, SaysWhichFilesPatternExplodesInAToken) {
  Json json = byte_level_tokenizer();
  const Json explodes = {{"type", "Replace"},
                         {"pattern", {{"Regex", "(?:a|a)*(?:a|a)*b|(?:a+)+c"}}},
                         {"content", ""}};
  const std::string token(1000, 'a');
  json["normalizer"] = explodes;
  json["added_tokens"] =
      Json::array({added_token(300, token, {{"normalized", true}})});
  refusal(ErrorCode::unsupported, json);
  json.erase("normalizer");
  json["decoder"] = explodes;
  json["added_tokens"][0]["special"] = false;
  const auto tokenizer = TokenizerFolder(json).load();
  error_of(ErrorCode::unsupported, [&] { tokenizer->decode(Ids{300}); });
}

TEST(TokenizerJsonTest, SaysWhichFilesPatternExplodes) {
  Json json = byte_level_tokenizer();
  json["pre_tokenizer"] = {
      {"type", "Split"},
      {"pattern", {{"Regex", "(?:a|a)*(?:a|a)*b|(?:a+)+c"}}},
      {"behavior", "Isolated"},
      {"invert", false}};
  const auto tokenizer = TokenizerFolder(json).load();
  const auto message = error_of(ErrorCode::unsupported, [&] {
    tokenizer->encode(std::string(3000, 'a'), false);
  });
  EXPECT_NE(message.find("tokenizer.json"), std::string::npos);
}

}  // namespace
}  // namespace llamlx
