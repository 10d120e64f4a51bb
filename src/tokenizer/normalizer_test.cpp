#include "tokenizer/normalizer.h"

#include <string>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::component;
using testing::error_of;

NormalizedText normalized(const char* settings, const std::string& text) {
  const Json json = testing::parse(settings);
  NormalizedText result{text};
  make_normalizer(component(json))->apply(result);
  return result;
}

TEST(NormalizerTest, RunsUnicodeForms) {
  EXPECT_EQ(normalized(R"({"type": "NFC"})", "e\xCC\x81").text, "\xC3\xA9");
  EXPECT_EQ(normalized(R"({"type": "NFD"})", "\xC3\xA9").text, "e\xCC\x81");
  EXPECT_EQ(normalized(R"({"type": "NFKC"})", "\xEF\xAC\x81").text, "fi");
  EXPECT_EQ(normalized(R"({"type": "NFKD"})", "\xC2\xBD").text,
            "1\xE2\x81\x84\x32");
}

TEST(NormalizerTest, RunsSequencesInOrder) {
  EXPECT_EQ(normalized(R"({"type": "Sequence", "normalizers": [
                {"type": "NFD"}, {"type": "StripAccents"},
                {"type": "Lowercase"}]})",
                       "\xC3\x89t\xC3\xA9")
                .text,
            "ete");
}

TEST(NormalizerTest, StripsEitherSide) {
  const auto strip = [](const char* flags, const char* text) {
    return normalized(
               (std::string(R"({"type": "Strip", )") + flags + "}").c_str(),
               text)
        .text;
  };
  EXPECT_EQ(strip(R"("strip_left": true, "strip_right": true)", " \n a b  "),
            "a b");
  EXPECT_EQ(strip(R"("strip_left": true, "strip_right": false)", " a "), "a ");
  EXPECT_EQ(strip(R"("strip_left": false, "strip_right": true)", " a "), " a");
  EXPECT_EQ(strip(R"("strip_left": true, "strip_right": true)", "  "), "");
}

TEST(NormalizerTest, PrependsToTextsThatAreNotEmpty) {
  const char* prepend = R"({"type": "Prepend", "prepend": "_"})";
  EXPECT_EQ(normalized(prepend, "a").text, "_a");
  EXPECT_EQ(normalized(prepend, "").text, "");
}

TEST(NormalizerTest, ReplacesStringsAndMatches) {
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"String": "."},
                           "content": "!"})",
                       "a.b")
                .text,
            "a!b");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"Regex": " {2,}"},
                           "content": " "})",
                       "a   b c")
                .text,
            "a b c");
  EXPECT_EQ(normalized(R"({"type": "Replace", "pattern": {"String": ""},
                           "content": "-"})",
                       "ab")
                .text,
            "-a-b-");
}

TEST(NormalizerTest, KnowsWhetherTheStartIsStillThere) {
  const char* cut = R"({"type": "Replace", "pattern": {"Regex": "^ +"},
                        "content": ""})";
  EXPECT_FALSE(normalized(cut, "  a").at_start);
  EXPECT_TRUE(normalized(cut, "a").at_start);
  EXPECT_TRUE(
      normalized(R"({"type": "Prepend", "prepend": "_"})", "a").at_start);
  EXPECT_FALSE(normalized(R"({"type": "Strip", "strip_left": true,
                              "strip_right": true})",
                          " a")
                   .at_start);
}

TEST(NormalizerTest, RefusesWhatItDoesNotKnow) {
  const std::string message = error_of(ErrorCode::unsupported, [] {
    normalized(R"({"type": "Sequence", "normalizers": [{"type": "NFC"},
                   {"type": "Precompiled"}]})",
               "");
  });
  EXPECT_NE(message.find("part.normalizers[1] Precompiled"), std::string::npos)
      << message;
}

TEST(NormalizerTest, RefusesBrokenSettings) {
  for (const char* settings :
       {R"([])", R"({})", R"({"type": 3})", R"({"type": "Strip"})",
        R"({"type": "Sequence"})", R"({"type": "Sequence", "normalizers": {}})",
        R"({"type": "Sequence", "normalizers": [1]})",
        R"({"type": "Prepend", "prepend": 1})",
        R"({"type": "Replace", "content": ""})",
        R"({"type": "Replace", "pattern": "a", "content": ""})",
        R"({"type": "Replace", "pattern": {}, "content": ""})",
        R"({"type": "Replace", "pattern": {"String": 1}, "content": ""})"}) {
    error_of(ErrorCode::corrupt_file, [&] { normalized(settings, ""); });
  }
  const std::string message = error_of(ErrorCode::unsupported, [] {
    normalized(R"({"type": "Replace", "pattern": {"Regex": "("},
                   "content": ""})",
               "");
  });
  EXPECT_NE(message.find("part Replace: the regular expression ("),
            std::string::npos)
      << message;
}

}  // namespace
}  // namespace llamlx
