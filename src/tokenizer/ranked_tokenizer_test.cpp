#include "tokenizer/ranked_tokenizer.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::error_of;

Vocabulary vocabulary_of(const std::vector<std::string>& tokens) {
  Vocabulary vocabulary;
  for (const std::string& token : tokens) {
    vocabulary.add(token, vocabulary.id_end());
  }
  return vocabulary;
}

std::vector<std::string> merges_of(const std::vector<std::string>& tokens) {
  const MergeList merges = list_ranked_merges(vocabulary_of(tokens), "file");
  std::vector<std::string> list;
  for (std::size_t i = 0; i < merges.size(); ++i) {
    list.push_back(concat(merges.left(i), " ", merges.right(i)));
  }
  return list;
}

TEST(RankedTokenizerTest, ListsEveryPairThatMakesAToken) {
  using Pairs = std::vector<std::string>;
  EXPECT_EQ(merges_of({"c", "b", "a", "bc", "ab", "abc"}),
            (Pairs{"b c", "a b", "a bc", "ab c"}));
  EXPECT_EQ(merges_of({"a", "b", "abc"}), Pairs{});
  EXPECT_EQ(merges_of({"a", "\xC3\xA9", "a\xC3\xA9"}), Pairs{"a \xC3\xA9"});
  EXPECT_EQ(merges_of({}), Pairs{});
}

TEST(RankedTokenizerTest, RefusesTokensThatTakeTooLongToSplit) {
  Vocabulary tokens;
  for (int i = 0; i < 300; ++i) {
    tokens.add(std::string(2000, 'a') + std::to_string(i), tokens.id_end());
  }
  error_of(ErrorCode::unsupported, [&] { list_ranked_merges(tokens, "file"); });
}

TEST(RankedTokenizerTest, RefusesMoreMergesThanAnyTokenizerHas) {
  // All words of two letters and up to 18 characters: each is made of others
  // in every way there is.
  Vocabulary tokens;
  for (std::size_t length = 1; length <= 18; ++length) {
    for (std::uint32_t bits = 0; bits < 1u << length; ++bits) {
      std::string token;
      for (std::size_t i = 0; i < length; ++i) {
        token += (bits >> i & 1) != 0 ? 'a' : 'b';
      }
      tokens.add(token, tokens.id_end());
    }
  }
  error_of(ErrorCode::unsupported, [&] { list_ranked_merges(tokens, "file"); });
}

}  // namespace
}  // namespace llamlx
