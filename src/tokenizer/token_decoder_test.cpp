#include "tokenizer/token_decoder.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::component;
using testing::error_of;
using Tokens = std::vector<std::string>;

const std::string kUnknown = "\xEF\xBF\xBD";

std::string run(std::vector<std::unique_ptr<DecodeStep>>& steps,
                std::size_t first, Tokens tokens) {
  for (std::size_t i = first; i < steps.size(); ++i) {
    Tokens out;
    for (const std::string& token : tokens) steps[i]->add(token, out);
    tokens = out;
  }
  std::string text;
  for (const std::string& token : tokens) text += token;
  return text;
}

// The text of each token as it becomes certain, and of the end.
Tokens pieces(const TokenDecoder& decoder, const Tokens& tokens) {
  auto steps = decoder.start();
  Tokens result;
  for (const std::string& token : tokens) {
    result.push_back(run(steps, 0, {token}));
  }
  std::string rest;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    Tokens out;
    steps[i]->finish(out);
    rest += run(steps, i + 1, out);
  }
  result.push_back(rest);
  return result;
}

Tokens pieces(const std::string& settings, const Tokens& tokens) {
  const Json json = testing::parse(settings);
  return pieces(TokenDecoder(component(json)), tokens);
}

const char* const kLlama = R"({"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "_"}, "content": " "},
    {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]})";

TEST(TokenDecoderTest, JoinsBySpacesWithoutADecoder) {
  EXPECT_EQ(pieces(TokenDecoder(), {"a", "b"}), (Tokens{"a", " b", ""}));
}

TEST(TokenDecoderTest, ByteLevelHoldsBackIncompleteCharacters) {
  // The bytes of U+4E2D in GPT-2's alphabet, then its first two again.
  const Tokens tokens = {"\xC3\xA4", "\xC2\xB8", "\xC5\x83", "\xC3\xA4",
                         "\xC2\xB8"};
  EXPECT_EQ(pieces(R"({"type": "ByteLevel"})", tokens),
            (Tokens{"", "", "\xE4\xB8\xAD", "", "", kUnknown}));
}

TEST(TokenDecoderTest, ByteLevelTakesOtherTokensAsTheyAre) {
  EXPECT_EQ(pieces(R"({"type": "ByteLevel"})", {"a b", "\xE4\xB8\xAD\xC4\xA0"}),
            (Tokens{"a b", "\xE4\xB8\xAD\xC4\xA0", ""}));
}

TEST(TokenDecoderTest, LlamaDropsOneLeadingSpaceOfTheText) {
  EXPECT_EQ(pieces(kLlama, {"_a", "_b"}), (Tokens{"a", " b", ""}));
  EXPECT_EQ(pieces(kLlama, {"_", "_b"}), (Tokens{"", " b", ""}));
  EXPECT_EQ(pieces(kLlama, {"<0x20>", "_b"}), (Tokens{"", " b", ""}));
}

TEST(TokenDecoderTest, ByteRunsAreTextOrUnknownAsAWhole) {
  EXPECT_EQ(pieces(kLlama, {"a", "<0xC3>", "<0xA9>", "b"}),
            (Tokens{"a", "", "", "\xC3\xA9\x62", ""}));
  EXPECT_EQ(pieces(kLlama, {"<0x41>", "<0xC3>", "b"}),
            (Tokens{"", "", kUnknown + kUnknown + "b", ""}));
  EXPECT_EQ(pieces(kLlama, {"<0xC3>"}), (Tokens{"", kUnknown}));
  EXPECT_EQ(pieces(kLlama, {"<0xZZ>", "<0x4>"}),
            (Tokens{"<0xZZ>", "<0x4>", ""}));
}

TEST(TokenDecoderTest, StripsTheEndOfATextOnlyWhenItIsTheEnd) {
  const char* strip = R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
      {"type": "Strip", "content": "x", "start": 2, "stop": 2}]})";
  EXPECT_EQ(pieces(strip, {"x", "xxa", "x", "x", "xb", "xxx"}),
            (Tokens{"", "xa", "", "", "xxxb", "x", ""}));
}

TEST(TokenDecoderTest, StripsTokensBeforeTheyAreFused) {
  const char* strip =
      R"({"type": "Strip", "content": "x", "start": 1, "stop": 1})";
  EXPECT_EQ(pieces(strip, {"xax", "x", "xx", "bxx"}),
            (Tokens{"a", "", "", "bx", ""}));
}

TEST(TokenDecoderTest, MetaspaceDropsTheMarksOfTheFirstToken) {
  const auto metaspace = [](const char* scheme) {
    return Json({{"type", "Metaspace"},
                 {"replacement", "_"},
                 {"prepend_scheme", scheme}})
        .dump();
  };
  EXPECT_EQ(pieces(metaspace("always"), {"_a_", "_b"}),
            (Tokens{"a", " b", ""}));
  EXPECT_EQ(pieces(metaspace("never"), {"_a", "_b"}), (Tokens{" a", " b", ""}));
}

TEST(TokenDecoderTest, RefusesWhatItCannotStreamOrDoesNotKnow) {
  for (const char* settings :
       {R"({"type": "WordPiece", "prefix": "##", "cleanup": true})",
        R"({"type": "CTC"})",
        R"({"type": "Sequence", "decoders": [{"type": "Fuse"},
            {"type": "ByteFallback"}]})",
        R"({"type": "Sequence", "decoders": [{"type": "ByteLevel"},
            {"type": "Replace", "pattern": {"String": "a"},
             "content": ""}]})"}) {
    const auto message =
        error_of(ErrorCode::unsupported, [&] { pieces(settings, {}); });
    EXPECT_NE(message.find("part"), std::string::npos) << message;
  }
}

TEST(TokenDecoderTest, RefusesBrokenSettings) {
  for (const char* settings :
       {R"({"type": "Strip", "content": "ab", "start": 0, "stop": 0})",
        R"({"type": "Strip", "content": "a", "start": -1, "stop": 0})",
        R"({"type": "Strip", "content": "a", "start": 0})",
        R"({"type": "Sequence"})"}) {
    error_of(ErrorCode::corrupt_file, [&] { pieces(settings, {}); });
  }
}

}  // namespace
}  // namespace llamlx
