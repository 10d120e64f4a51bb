#include "tokenizer/tekken_file.h"

#include <functional>
#include <string>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using testing::Ids;
using testing::ranked_tokens;
using testing::tekken_file;
using testing::to_base64;
using testing::TokenizerFolder;

constexpr std::int32_t kFirst = 20;  // the id of the rank 0

TokenizerFolder folder_of(const Json& tekken) {
  return TokenizerFolder("tekken.json", tekken.dump());
}

Json small(const std::vector<std::string>& tokens = {}) {
  return tekken_file(ranked_tokens(0, tokens));
}

Ids encode(const Json& tekken, std::string_view text, bool special = false) {
  return folder_of(tekken).load()->encode(text, special);
}

TEST(TekkenFileTest, MergesTheLowestRankFirst) {
  const Json tekken = small({"bc", "ab", "abc"});
  EXPECT_EQ(encode(tekken, "abd"), (Ids{257 + kFirst, 'd' + kFirst}));
  EXPECT_EQ(encode(tekken, "xabcx"),
            (Ids{'x' + kFirst, 258 + kFirst, 'x' + kFirst}));
  EXPECT_EQ(encode(small({"ab", "bc"}), "abc"),
            (Ids{256 + kFirst, 'c' + kFirst}));
}

TEST(TekkenFileTest, AWordThatIsATokenIsNotMergedFromItsParts) {
  const Json tekken = small({"bc", "abc"});
  EXPECT_EQ(encode(tekken, "abc"), (Ids{257 + kFirst}));
  EXPECT_EQ(encode(small({"abcd"}), "abcd"), (Ids{256 + kFirst}));
}

TEST(TekkenFileTest, AMergeMayGoThroughAHigherRank) {
  // "abcd" has the lower rank, but is only reached through "abc".
  const Json tekken = small({"abcd", "bc", "abc"});
  EXPECT_EQ(encode(tekken, "abcdx"), (Ids{256 + kFirst, 'x' + kFirst}));
}

TEST(TekkenFileTest, LeavesOutWhatThePatternDoesNotMatch) {
  EXPECT_EQ(encode(small(), "a1b"), (Ids{'a' + kFirst, 'b' + kFirst}));
}

TEST(TekkenFileTest, HasTheUsualSpecialTokensWhenItNamesNone) {
  const auto tokenizer = folder_of(small()).load();
  EXPECT_EQ(tokenizer->encode("[INST]a[/INST]", true),
            (Ids{1, 3, 'a' + kFirst, 4}));
  EXPECT_EQ(tokenizer->encode("[TOOL_CONTENT]", false), Ids{19});
  EXPECT_EQ(tokenizer->bos_id(), 1);
  EXPECT_EQ(tokenizer->eos_id(), 2);
  EXPECT_EQ(tokenizer->eos_ids(), Ids{2});
  EXPECT_EQ(tokenizer->vocab_size(), 276);
  EXPECT_TRUE(tokenizer->is_special(19));
  EXPECT_FALSE(tokenizer->is_special(20));
  EXPECT_EQ(tokenizer->decode(Ids{1, 'a' + kFirst, 2, 999}), "a");
}

TEST(TekkenFileTest, NamesTheSpecialTokensThatTheFileLeavesOpen) {
  Json tekken = small();
  tekken["config"]["version"] = "v13";
  tekken["special_tokens"] = {
      {{"rank", 0}, {"token_str", "<unk>"}, {"is_control", true}},
      {{"rank", 2}, {"token_str", "</s>"}, {"is_control", true}},
      {{"rank", 1}, {"token_str", "<s>"}, {"is_control", true}}};
  EXPECT_EQ(encode(tekken, "</s><SPECIAL_3><SPECIAL_19><SPECIAL_9", true),
            (Ids{1, 2, 3, 19, '<' + kFirst, 'S' + kFirst, 'P' + kFirst,
                 'E' + kFirst, 'C' + kFirst, 'I' + kFirst, 'A' + kFirst,
                 'L' + kFirst, '_' + kFirst}));
}

TEST(TekkenFileTest, TakesTheVocabularysSizeFromTheConfig) {
  Json tekken = small({"ab", "cd"});
  tekken["config"]["default_vocab_size"] = 277;
  tekken["vocab"][257]["token_bytes"] = "what is cut off is not read";
  EXPECT_EQ(encode(tekken, "abcd"),
            (Ids{256 + kFirst, 'c' + kFirst, 'd' + kFirst}));
}

TEST(TekkenFileTest, ASpecialTokenEndsARunOfBytes) {
  const auto tokenizer = folder_of(small()).load();
  constexpr std::int32_t kC3 = 0xC3 + kFirst, kA9 = 0xA9 + kFirst;
  EXPECT_EQ(tokenizer->decode(Ids{kC3, kA9}), "\xC3\xA9");
  EXPECT_EQ(tokenizer->decode(Ids{kC3, 2, kA9}), "\xEF\xBF\xBD\xEF\xBF\xBD");
}

TEST(TekkenFileTest, StreamsWholeCharacters) {
  const auto tokenizer = folder_of(small()).load();
  const auto stream = tokenizer->decode_stream();
  EXPECT_EQ(stream->add(0xE2 + kFirst), "");
  EXPECT_EQ(stream->add(0x82 + kFirst), "");
  EXPECT_EQ(stream->add(0xAC + kFirst), "\xE2\x82\xAC");
  EXPECT_EQ(stream->add(0xE2 + kFirst), "");
  EXPECT_EQ(stream->add('a' + kFirst),
            "\xEF\xBF\xBD"
            "a");
  EXPECT_EQ(stream->add(0xF0 + kFirst), "");
  EXPECT_EQ(stream->finish(), "\xEF\xBF\xBD");
}

TEST(TekkenFileTest, OtherFilesMayNameOtherEnds) {
  auto folder = folder_of(small());
  folder.with("tokenizer_config.json",
              {{"bos_token", "[INST]"}, {"eos_token", "[/INST]"}});
  EXPECT_EQ(folder.load()->encode("a", true), (Ids{3, 'a' + kFirst}));
  EXPECT_EQ(folder.load()->eos_ids(), Ids{4});
  folder.with("tokenizer_config.json", {{"add_bos_token", false}});
  EXPECT_EQ(folder.load()->encode("a", true), (Ids{'a' + kFirst}));
}

TEST(TekkenFileTest, EncodesAVeryLongWord) {
  const auto tokenizer =
      folder_of(small({"aa", "aaaa", "aaaaaaaa", "ba"})).load();
  const std::string word(100'000, 'a');
  EXPECT_EQ(tokenizer->encode(word, false), Ids(12'500, 258 + kFirst));
  EXPECT_EQ(tokenizer->decode(tokenizer->encode("b" + word, false)),
            "b" + word);
}

// ---- Files that cannot be used

std::string refusal(const Json& tekken,
                    ErrorCode code = ErrorCode::corrupt_file) {
  const auto folder = folder_of(tekken);
  const auto message = error_of(code, [&] { folder.load(); });
  EXPECT_NE(message.find("tekken.json"), std::string::npos) << message;
  return message;
}

void refuses(const std::function<void(Json&)>& damage, std::string_view why) {
  Json tekken = small({"ab"});
  damage(tekken);
  const std::string message = refusal(tekken);
  EXPECT_NE(message.find(why), std::string::npos) << message;
}

TEST(TekkenFileTest, RefusesWhatIsNotJson) {
  for (const std::string& text :
       {std::string(), std::string("{"), std::string("[]"), std::string("1"),
        std::string("{\"vocab\": 1e999}"),
        "{\"a\": " + std::string(100'000, '['),
        std::string("{\"vocab\": [\"\xFF\"]}")}) {
    const TokenizerFolder folder("tekken.json", text);
    error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
  }
}

TEST(TekkenFileTest, RefusesAVocabularyOfOtherThings) {
  refuses([](Json& t) { t.erase("vocab"); }, "vocab");
  refuses([](Json& t) { t["vocab"] = 1; }, "vocab");
  refuses([](Json& t) { t["vocab"][256] = "ab"; }, "vocab");
  refuses([](Json& t) { t["vocab"] = {{"a", 1}}; }, "vocab");
  refuses([](Json& t) { t["vocab"] = {{"a", {{"b", 1}}}}; }, "token_bytes");
  refuses([](Json& t) { t["vocab"][256].erase("rank"); }, "vocab[256]");
  refuses([](Json& t) { t["vocab"][256]["rank"] = "256"; }, "vocab[256]");
  refuses([](Json& t) { t["vocab"][256]["rank"] = 256.5; }, "vocab[256]");
}

TEST(TekkenFileTest, RefusesBadTokens) {
  refuses([](Json& t) { t["vocab"][256]["token_bytes"] = "a"; }, "base64");
  refuses([](Json& t) { t["vocab"][256]["token_bytes"] = ""; }, "base64");
  refuses([](Json& t) { t["vocab"][256]["token_bytes"] = "AA=="; }, "twice");
  refuses([](Json& t) { t["vocab"][7]["token_bytes"] = "AAAA"; }, "byte 7");
  refuses(
      [](Json& t) {
        t["vocab"][256]["token_bytes"] =
            to_base64(std::string(RankedTokens::kLongestToken + 1, 'a'));
      },
      "1025 bytes");
}

TEST(TekkenFileTest, RefusesBadRanks) {
  refuses([](Json& t) { t["vocab"][256]["rank"] = 0; }, "the rank 0");
  refuses([](Json& t) { t["vocab"][256]["rank"] = 257; }, "the rank 256");
  refuses([](Json& t) { t["vocab"][256]["rank"] = -1; }, "out of range");
  refuses([](Json& t) { t["vocab"][256]["rank"] = INT64_MAX; }, "out of range");
}

TEST(TekkenFileTest, RefusesAbsurdSizes) {
  for (const auto size :
       std::vector<std::int64_t>{-1, 0, 19, 20, 278, 1ll << 40, INT64_MAX}) {
    refuses([&](Json& t) { t["config"]["default_vocab_size"] = size; }, "");
  }
  for (const auto size : std::vector<std::int64_t>{
           -1, 3, 278, 1 << 20, 1ll << 40, INT64_MIN, INT64_MAX}) {
    refuses([&](Json& t) { t["config"]["default_num_special_tokens"] = size; },
            "");
  }
  for (const char* key :
       {"pattern", "default_vocab_size", "default_num_special_tokens"}) {
    refuses([&](Json& t) { t["config"].erase(key); }, key);
  }
  refuses([](Json& t) { t.erase("config"); }, "config");
}

TEST(TekkenFileTest, RefusesAPatternThatDoesNotCompile) {
  Json tekken = small();
  tekken["config"]["pattern"] = "(a";
  EXPECT_NE(refusal(tekken, ErrorCode::unsupported).find("(a"),
            std::string::npos);
}

TEST(TekkenFileTest, RefusesBadSpecialTokens) {
  const auto with = [](const Json& token) {
    return [=](Json& t) {
      t["special_tokens"] =
          Json::array({{{"rank", 0}, {"token_str", "<unk>"}}, token});
    };
  };
  refuses(with({{"rank", 20}, {"token_str", "<s>"}}), "out of range");
  refuses(with({{"rank", -1}, {"token_str", "<s>"}}), "out of range");
  refuses(with({{"rank", 0}, {"token_str", "<s>"}}), "<unk>");
  refuses(with({{"rank", 1}, {"token_str", "<unk>"}}), "twice");
  refuses(with({{"rank", 1}, {"token_str", "<SPECIAL_5>"}}), "twice");
  refuses(with({{"rank", 1}, {"token_str", ""}}), "empty");
  refuses(with({{"rank", 1}, {"token_str", std::string(2000, 'x')}}),
          "too long");
  refuses(with({{"rank", 1}}), "token_str");
  refuses(with("<s>"), "special_tokens[1]");
  refuses([](Json& t) { t["special_tokens"] = 1; }, "special_tokens");
  refuses([](Json& t) { t["config"]["version"] = "v11"; }, "v11");
  refuses([](Json& t) { t["config"].erase("version"); }, "special_tokens");
}

}  // namespace
}  // namespace llamlx
