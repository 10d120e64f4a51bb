#include "tokenizer/regex.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/oniguruma_pattern.h"

namespace llamlx {
namespace {

using Texts = std::vector<std::string>;

Texts matches(std::string_view pattern, std::string_view text) {
  Texts found;
  for (const TextRange& match : Regex(pattern).find_all(text)) {
    found.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  return found;
}

std::string refusal(std::string_view pattern) {
  try {
    Regex regex(pattern);
  } catch (const PatternError& error) {
    return error.what();
  }
  ADD_FAILURE() << pattern << " was taken";
  return {};
}

TEST(RegexTest, FindsMatchesFromLeftToRight) {
  EXPECT_EQ(matches("a+|b", "aab ba"), (Texts{"aa", "b", "b", "a"}));
  EXPECT_EQ(matches("x", ""), Texts{});
}

TEST(RegexTest, TakesEmptyMatchesOnceAtEachPlace) {
  const auto found = Regex("x*").find_all("ax\xC3\xA9");
  ASSERT_EQ(found.size(), 3u);
  EXPECT_EQ(found[0].begin, 0u);
  EXPECT_EQ(found[1].end, 2u);  // "x"; none follows where it ends
  EXPECT_EQ(found[2].begin, 4u);
}

TEST(RegexTest, SpaceIsUnicodeWhiteSpace) {
  // U+0085 and U+3000 are, U+180E and U+200B are not.
  EXPECT_EQ(matches(R"(\S+)", "a\xC2\x85\x62\xE3\x80\x80\x63\xE1\xA0\x8E\x64"),
            (Texts{"a", "b", "c\xE1\xA0\x8E\x64"}));
}

TEST(RegexTest, WordsHoldMarksAndOutsideOfBracketsFractions) {
  EXPECT_EQ(matches(R"(\w+)", "e\xCC\x81_1 \xC2\xBD"),
            (Texts{"e\xCC\x81_1", "\xC2\xBD"}));
  EXPECT_EQ(matches(R"([\w]+)", "\xC2\xBD"), Texts{});
  EXPECT_EQ(matches(R"(\h+)", "xAf9g"), Texts{"Af9"});
}

TEST(RegexTest, LinesEndAtNewlinesOnly) {
  EXPECT_EQ(matches("^.", "ab\ncd\re"), (Texts{"a", "c"}));
  EXPECT_EQ(matches(".$", "ab\ncd\r\n"), (Texts{"b", "\r"}));
  EXPECT_EQ(matches("(?m:b.c)", "b\nc"), Texts{"b\nc"});
  EXPECT_EQ(matches("b.c", "b\nc"), Texts{});
}

TEST(RegexTest, IgnoresCaseAsUnicodeDoes) {
  EXPECT_EQ(matches("(?i:'s)x", "'Sx 's\xC5\xBF '\xC5\xBFx"),
            (Texts{"'Sx", "'\xC5\xBFx"}));
  EXPECT_NE(refusal("(?i)stra\xC3\x9F\x65").find("case"), std::string::npos);
  EXPECT_NE(refusal("(?i:press)").find("case"), std::string::npos);
}

TEST(RegexTest, ClassesIntersectAndNest) {
  EXPECT_EQ(matches("[a-z&&[^aeiou]]+", "hello"), (Texts{"h", "ll"}));
  EXPECT_EQ(matches("[^a-m[x-z]]+", "aqxrz"), (Texts{"q", "r"}));
  EXPECT_EQ(matches(R"([\W\d]+)", "a1-b"), Texts{"1-"});
  EXPECT_EQ(matches(R"([\]\-a])", "]-a"), (Texts{"]", "-", "a"}));
  EXPECT_EQ(matches("[[:alpha:]_]+", "a_1"), Texts{"a_"});
}

TEST(RegexTest, ScriptsAreNotExtensions) {
  // U+30FC is shared by two scripts and belongs to neither.
  EXPECT_EQ(matches(R"(\p{Katakana}+)", "\xE3\x82\xA2\xE3\x83\xBC"),
            Texts{"\xE3\x82\xA2"});
}

TEST(RegexTest, QuantifiersFollowOniguruma) {
  EXPECT_EQ(matches("a{1,2}+b", "aaaaab"), Texts{"aaaaab"});
  EXPECT_EQ(matches("a{2}?b", "b aab"), (Texts{"b", "aab"}));
  EXPECT_EQ(matches("xa{,2}", "xaaa"), Texts{"xaa"});
  EXPECT_EQ(matches("a++a", "aaa"), Texts{});
  EXPECT_EQ(matches("a{x}", "a{x}"), Texts{"a{x}"});
}

TEST(RegexTest, EscapesFollowOniguruma) {
  EXPECT_EQ(matches(R"(\v)", "\n\x0B"), Texts{"\x0B"});
  EXPECT_EQ(matches("\\u00e9\\x41\\x{42}", "\xC3\xA9\x41\x42"),
            Texts{"\xC3\xA9\x41\x42"});
  EXPECT_EQ(matches(R"((a)\1)", "aab"), Texts{"aa"});
  EXPECT_EQ(matches(R"(\bx)", "ax x"), Texts{"x"});
  EXPECT_EQ(matches(R"(#|\#| )", "# "), (Texts{"#", " "}));
}

TEST(RegexTest, RefusesWhatItCannotMean) {
  for (const char* pattern : {"(",
                              ")",
                              "[",
                              "[]",
                              "a{2,1}",
                              "*",
                              "a\\",
                              "(?~a)",
                              "(?x)a",
                              "(*FAIL)",
                              "\\p{Klingon}",
                              "\\xE9",
                              "\\K",
                              "\\G",
                              "\\X",
                              "\\y",
                              "[b-a]",
                              "[[:nope:]]",
                              "(?{1})",
                              "(?R)",
                              "\\x{110000}",
                              "\\x{d800}",
                              "a{999999}",
                              "(?C1)",
                              "\xFF",
                              "[a",
                              "(?<n",
                              "\\p{sc:Han}"}) {
    EXPECT_FALSE(refusal(pattern).empty()) << pattern;
  }
  EXPECT_FALSE(refusal(std::string(1000, '(')).empty());
  EXPECT_FALSE(refusal(std::string(1000, '[')).empty());
  EXPECT_FALSE(refusal(std::string(100'000, 'a')).empty());
}

TEST(RegexTest, GivesUpOnExplodingPatternsInTime) {
  const Regex exploding("(?:a|a)*(?:a|a)*b|(?:a+)+c");
  EXPECT_THROW(exploding.find_all(std::string(3000, 'a')), PatternError);
}

TEST(RegexTest, BacksOutOfLongRuns) {
  const std::string spaces(3 << 20, ' ');
  EXPECT_EQ(
      Regex(R"(\s*[\r\n]+|\s+(?!\S)|\s+|\S)").find_all(spaces + "x").size(),
      3u);
}

}  // namespace
}  // namespace llamlx
