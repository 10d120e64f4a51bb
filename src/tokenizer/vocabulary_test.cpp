#include "tokenizer/vocabulary.h"

#include <string>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(VocabularyTest, FindsBothWays) {
  Vocabulary vocabulary;
  EXPECT_EQ(vocabulary.find("a"), std::nullopt);
  for (int id = 0; id < 5000; ++id) {
    ASSERT_EQ(vocabulary.add("token" + std::to_string(id), id),
              Vocabulary::Added::yes);
  }
  for (int id = 0; id < 5000; ++id) {
    const std::string token = "token" + std::to_string(id);
    ASSERT_EQ(vocabulary.find(token), id);
    ASSERT_EQ(vocabulary.token(id), token);
  }
  EXPECT_EQ(vocabulary.find("token"), std::nullopt);
  EXPECT_EQ(vocabulary.size(), 5000u);
}

TEST(VocabularyTest, RefusesTheSameTokenOrIdTwice) {
  Vocabulary vocabulary;
  EXPECT_EQ(vocabulary.add("a", 1), Vocabulary::Added::yes);
  EXPECT_EQ(vocabulary.add("a", 2), Vocabulary::Added::token_known);
  EXPECT_EQ(vocabulary.add("b", 1), Vocabulary::Added::id_taken);
}

TEST(VocabularyTest, LeavesGaps) {
  Vocabulary vocabulary;
  vocabulary.add("", 7);
  EXPECT_EQ(vocabulary.id_end(), 8);
  EXPECT_TRUE(vocabulary.contains(7));
  EXPECT_FALSE(vocabulary.contains(6));
  EXPECT_FALSE(vocabulary.contains(-1));
  EXPECT_FALSE(vocabulary.contains(8));
  EXPECT_EQ(vocabulary.token(6), "");
  EXPECT_EQ(vocabulary.find(""), 7);
}

}  // namespace
}  // namespace llamlx
