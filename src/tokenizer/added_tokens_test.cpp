#include "tokenizer/added_tokens.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/concat.h"
#include "tokenizer/added_vocabulary.h"

namespace llamlx {
namespace {

// "text" or "<id:text>" for each segment.
using Segments = std::vector<std::string>;

Segments split(const std::vector<AddedToken>& tokens, const std::string& text) {
  AddedTokenMatcher matcher;
  for (const AddedToken& token : tokens) {
    EXPECT_TRUE(matcher.add(token, token.content));
  }
  Segments segments;
  for (const TextSegment& segment : matcher.split(text)) {
    const std::string part =
        text.substr(segment.begin, segment.end - segment.begin);
    segments.push_back(segment.id == TextSegment::kText
                           ? part
                           : concat("<", segment.id, ":", part, ">"));
  }
  return segments;
}

AddedToken token(const std::string& content, std::int32_t id) {
  AddedToken result;
  result.content = content;
  result.id = id;
  return result;
}

TEST(AddedTokensTest, TakesTheLongestOfTheLeftmost) {
  const std::vector<AddedToken> tokens = {token("ab", 1), token("abcd", 2),
                                          token("bcx", 3)};
  EXPECT_EQ(split(tokens, "zabcxabcd"),
            (Segments{"z", "<1:ab>", "cx", "<2:abcd>"}));
  EXPECT_EQ(split(tokens, ""), Segments{});
  EXPECT_EQ(split({}, "ab"), Segments{"ab"});
}

TEST(AddedTokensTest, SwallowsSpaceWhereAsked) {
  AddedToken left = token("<l>", 1);
  left.lstrip = true;
  AddedToken right = token("<r>", 2);
  right.rstrip = true;
  EXPECT_EQ(split({left, right}, "a \n <l> b <r>  c"),
            (Segments{"a", "<1: \n <l>>", " b ", "<2:<r>  >", "c"}));
  // The space is swallowed once.
  EXPECT_EQ(split({left, right}, "<r>  <l>"),
            (Segments{"<2:<r>  >", "<1:<l>>"}));
  EXPECT_EQ(split({left, right}, "\xE3\x80\x80<l>"),
            (Segments{"<1:\xE3\x80\x80<l>>"}));
}

TEST(AddedTokensTest, SingleWordsStandAlone) {
  AddedToken word = token("cat", 1);
  word.single_word = true;
  EXPECT_EQ(split({word}, "cat,cats cat"),
            (Segments{"<1:cat>", ",cats ", "<1:cat>"}));
  EXPECT_EQ(split({word}, "\xC3\xA9\x63\x61\x74"),
            (Segments{"\xC3\xA9\x63\x61\x74"}));
}

TEST(AddedTokensTest, RefusesTokensThatCannotBeFound) {
  AddedTokenMatcher matcher;
  EXPECT_FALSE(matcher.add(token("", 1), ""));
  EXPECT_TRUE(matcher.add(token("a", 1), "a"));
  EXPECT_FALSE(matcher.add(token("A", 2), "a"));
  const std::string longest(AddedTokenMatcher::kLongestToken + 1, 'x');
  EXPECT_FALSE(matcher.add(token(longest, 3), longest));
}

TEST(AddedVocabularyTest, KeepsWhatIsSoughtInNormalizedTextApart) {
  AddedVocabulary added;
  AddedToken normalized = token("Yes", 5);
  normalized.normalized = true;
  EXPECT_EQ(added.add(normalized, "yes"), nullptr);
  EXPECT_EQ(added.split_raw("yes").size(), 1u);
  EXPECT_EQ(added.split_raw("yes")[0].id, TextSegment::kText);
  EXPECT_EQ(added.split_normalized("yes")[0].id, 5);
  EXPECT_EQ(added.find("Yes"), 5);
  ASSERT_NE(added.text(5), nullptr);
  EXPECT_EQ(*added.text(5), "yes");
  EXPECT_EQ(added.id_end(), 6);
}

TEST(AddedVocabularyTest, RefusesIdsAndContentsTwice) {
  AddedVocabulary added;
  EXPECT_EQ(added.add(token("a", 1), "a"), nullptr);
  EXPECT_NE(added.add(token("b", 1), "b"), nullptr);
  EXPECT_NE(added.add(token("a", 2), "a"), nullptr);
}

}  // namespace
}  // namespace llamlx
