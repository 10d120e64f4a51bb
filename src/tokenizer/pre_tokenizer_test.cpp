#include "tokenizer/pre_tokenizer.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::component;
using testing::error_of;
using Words = std::vector<std::string>;

Words words(const std::string& settings, const std::string& text,
            bool at_start = true) {
  const Json json = testing::parse(settings);
  SplitText split(NormalizedText{text, at_start});
  make_pre_tokenizer(component(json))->apply(split);
  Words result;
  for (const auto& piece : split.pieces) result.emplace_back(split.view(piece));
  return result;
}

std::string split_by(const char* pattern, const char* behavior,
                     bool invert = false) {
  return Json({{"type", "Split"},
               {"pattern", {{"String", pattern}}},
               {"behavior", behavior},
               {"invert", invert}})
      .dump();
}

TEST(PreTokenizerTest, SplitsWithEachBehavior) {
  const std::string text = "the-final--countdown";
  EXPECT_EQ(words(split_by("-", "Removed"), text),
            (Words{"the", "final", "countdown"}));
  EXPECT_EQ(words(split_by("-", "Isolated"), text),
            (Words{"the", "-", "final", "-", "-", "countdown"}));
  EXPECT_EQ(words(split_by("-", "MergedWithPrevious"), text),
            (Words{"the-", "final-", "-", "countdown"}));
  EXPECT_EQ(words(split_by("-", "MergedWithNext"), text),
            (Words{"the", "-final", "-", "-countdown"}));
  EXPECT_EQ(words(split_by("-", "Contiguous"), text),
            (Words{"the", "-", "final", "--", "countdown"}));
}

TEST(PreTokenizerTest, SplitsAroundMatchesWhenInverted) {
  EXPECT_EQ(words(R"({"type": "Split", "pattern": {"Regex": "\\w+"},
                      "behavior": "Removed", "invert": true})",
                  "one, two"),
            (Words{"one", "two"}));
}

TEST(PreTokenizerTest, ByteLevelSplitsAsGpt2AndShowsBytes) {
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": false})",
                  "I'm 12\n\n x!"),
            (Words{"I", "'m", "\xC4\xA0\x31\x32", "\xC4\x8A\xC4\x8A",
                   "\xC4\xA0x", "!"}));
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": true,
                      "use_regex": false})",
                  "a b"),
            (Words{"\xC4\xA0\x61\xC4\xA0\x62"}));
}

TEST(PreTokenizerTest, ByteLevelAddsNoSecondSpace) {
  EXPECT_EQ(words(R"({"type": "ByteLevel", "add_prefix_space": true,
                      "use_regex": false})",
                  " a"),
            (Words{"\xC4\xA0\x61"}));
}

TEST(PreTokenizerTest, DigitsStandAloneOrTogether) {
  EXPECT_EQ(
      words(R"({"type": "Digits", "individual_digits": true})", "a12\xC2\xBD"),
      (Words{"a", "1", "2", "\xC2\xBD"}));
  EXPECT_EQ(words(R"({"type": "Digits", "individual_digits": false})", "a12b"),
            (Words{"a", "12", "b"}));
}

TEST(PreTokenizerTest, MetaspaceMarksSpaces) {
  const auto metaspace = [](const char* scheme, bool split) {
    return Json({{"type", "Metaspace"},
                 {"replacement", "_"},
                 {"prepend_scheme", scheme},
                 {"split", split}})
        .dump();
  };
  EXPECT_EQ(words(metaspace("always", true), "a  b"), (Words{"_a", "_", "_b"}));
  EXPECT_EQ(words(metaspace("always", false), " a"), (Words{"_a"}));
  EXPECT_EQ(words(metaspace("never", false), "a b"), (Words{"a_b"}));
  EXPECT_EQ(words(metaspace("first", false), "a"), (Words{"_a"}));
  EXPECT_EQ(words(metaspace("first", false), "a", false), (Words{"a"}));
}

TEST(PreTokenizerTest, MetaspaceReadsTheOlderForm) {
  const char* older = R"({"type": "Metaspace", "replacement": "_",
                          "add_prefix_space": false})";
  EXPECT_EQ(words(older, "a b"), (Words{"a", "_b"}));
}

TEST(PreTokenizerTest, MetaspaceMarksOnlyTheFirstPieceOfASequence) {
  EXPECT_EQ(words(R"({"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"String": ","},
                 "behavior": "Removed", "invert": false},
                {"type": "Metaspace", "replacement": "_",
                 "prepend_scheme": "first", "split": false}]})",
                  "a,b"),
            (Words{"_a", "b"}));
}

TEST(PreTokenizerTest, SplitsAtPunctuationAndSpace) {
  EXPECT_EQ(words(R"({"type": "Punctuation"})", "a,b!"),
            (Words{"a", ",", "b", "!"}));
  EXPECT_EQ(words(R"({"type": "Punctuation", "behavior": "Removed"})", "a,b"),
            (Words{"a", "b"}));
  EXPECT_EQ(words(R"({"type": "WhitespaceSplit"})", " a\t b! "),
            (Words{"a", "b!"}));
  EXPECT_EQ(words(R"({"type": "Whitespace"})", "ab! c_1"),
            (Words{"ab", "!", "c_1"}));
}

TEST(PreTokenizerTest, RefusesWhatItDoesNotKnow) {
  for (const std::string& settings :
       {std::string(R"({"type": "BertPreTokenizer"})"),
        split_by("-", "Exploded"),
        std::string(R"({"type": "Metaspace", "replacement": "_",
                        "prepend_scheme": "sometimes"})")}) {
    error_of(ErrorCode::unsupported, [&] { words(settings, ""); });
  }
}

TEST(PreTokenizerTest, RefusesBrokenSettings) {
  for (const char* settings :
       {R"({"type": "Digits"})", R"({"type": "ByteLevel"})",
        R"({"type": "Split", "pattern": {"String": "-"}, "invert": false})",
        R"({"type": "Split", "pattern": {"String": "-"},
            "behavior": "Removed"})",
        R"({"type": "Metaspace", "replacement": ""})",
        R"({"type": "Metaspace", "replacement": "ab"})",
        R"({"type": "Metaspace", "replacement": "_",
            "prepend_scheme": "always", "add_prefix_space": false})",
        R"({"type": "Sequence", "pretokenizers": 3})"}) {
    error_of(ErrorCode::corrupt_file, [&] { words(settings, ""); });
  }
}

}  // namespace
}  // namespace llamlx
