#include "tokenizer/bpe.h"

#include <chrono>
#include <string>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

using Ids = std::vector<std::int32_t>;

// Tokens get the ids 0, 1, ... in order; merges, given as pairs of tokens, the
// ranks.
Bpe make_bpe(const std::vector<std::string>& tokens,
             const std::vector<std::pair<std::string, std::string>>& merges,
             BpeOptions options = {}) {
  Vocabulary vocabulary;
  for (const std::string& token : tokens) {
    vocabulary.add(token, vocabulary.id_end());
  }
  MergeTable table(merges.size());
  std::int32_t rank = 0;
  for (const auto& [left, right] : merges) {
    table.add(vocabulary.find(left).value(), vocabulary.find(right).value(),
              {rank++, vocabulary.find(left + right).value()});
  }
  return Bpe(std::move(vocabulary), std::move(table), std::move(options));
}

Ids encode(const Bpe& bpe, std::string_view word) {
  Ids ids;
  EXPECT_TRUE(bpe.encode(word, ids));
  return ids;
}

TEST(BpeTest, MergesTheLowestRankFirst) {
  const Bpe bpe = make_bpe({"a", "b", "c", "bc", "ab", "abc"},
                           {{"b", "c"}, {"a", "b"}, {"a", "bc"}});
  EXPECT_EQ(encode(bpe, "abc"), (Ids{5}));
  EXPECT_EQ(encode(bpe, "abab"), (Ids{4, 4}));
}

TEST(BpeTest, MergesTheLeftmostOfEquals) {
  const Bpe bpe = make_bpe({"a", "aa"}, {{"a", "a"}});
  EXPECT_EQ(encode(bpe, "aaa"), (Ids{1, 0}));
  EXPECT_EQ(encode(bpe, "aaaaa"), (Ids{1, 1, 0}));
}

TEST(BpeTest, ALaterMergeOfTheSamePairCounts) {
  MergeTable table(0);
  table.add(1, 2, {0, 3});
  table.add(1, 2, {7, 4});
  ASSERT_NE(table.find(1, 2), nullptr);
  EXPECT_EQ(table.find(1, 2)->rank, 7);
  EXPECT_EQ(table.find(2, 1), nullptr);
}

TEST(BpeTest, TablesGrow) {
  MergeTable table(0);
  for (int i = 0; i < 10'000; ++i) table.add(i, i + 1, {i, i});
  for (int i = 0; i < 10'000; ++i) ASSERT_EQ(table.find(i, i + 1)->id, i);
  EXPECT_EQ(table.find(0, 2), nullptr);
}

TEST(BpeTest, LeavesOutWhatNothingStandsFor) {
  EXPECT_EQ(encode(make_bpe({"a"}, {}), "axa"), (Ids{0, 0}));
  EXPECT_EQ(encode(make_bpe({"a"}, {}), ""), Ids{});
}

TEST(BpeTest, UnknownCharactersBecomeTheUnknownToken) {
  BpeOptions options{"<unk>"};
  const std::vector<std::string> tokens = {"<unk>", "a"};
  EXPECT_EQ(encode(make_bpe(tokens, {}, options), "xya"), (Ids{0, 0, 1}));
  options.fuse_unk = true;
  EXPECT_EQ(encode(make_bpe(tokens, {}, options), "xyax"), (Ids{0, 1, 0}));
}

TEST(BpeTest, SaysWhenTheUnknownTokenIsMissing) {
  const Bpe bpe = make_bpe({"a"}, {}, {"<unk>"});
  Ids ids;
  EXPECT_TRUE(bpe.encode("a", ids));
  EXPECT_FALSE(bpe.encode("x", ids));
}

TEST(BpeTest, FallsBackToBytesWhenAllAreThere) {
  const BpeOptions options{"<unk>", false, true};
  const Bpe bpe = make_bpe({"<unk>", "<0xC3>", "<0xA9>", "a"}, {}, options);
  EXPECT_EQ(encode(bpe, "a\xC3\xA9"), (Ids{3, 1, 2}));
  EXPECT_EQ(encode(bpe, "\xC3\xAA"), (Ids{0}));
}

TEST(BpeTest, IgnoringMergesKeepsWholeWords) {
  BpeOptions options;
  options.ignore_merges = true;
  const Bpe bpe = make_bpe({"a", "b", "ab"}, {}, options);
  EXPECT_EQ(encode(bpe, "ab"), (Ids{2}));
  EXPECT_EQ(encode(bpe, "aba"), (Ids{0, 1, 0}));
}

TEST(BpeTest, LongWordsAreNotQuadratic) {
  const Bpe bpe = make_bpe({"a", "aa", "aaaa"}, {{"a", "a"}, {"aa", "aa"}});
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(encode(bpe, std::string(1 << 20, 'a')).size(), 1u << 18);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(BpeTest, RemembersWordsFromSeveralThreads) {
  const Bpe bpe = make_bpe({"a", "b", "ab"}, {{"a", "b"}});
  const auto work = [&] {
    for (int i = 0; i < 40'000; ++i) {
      // More words than are remembered.
      const std::string word = "ab" + std::string(i % 61, 'a') +
                               std::string(i % 59, 'b') +
                               std::string(i % 7, 'a');
      Ids first;
      Ids second;
      bpe.encode(word, first);
      bpe.encode(word, second);
      if (first != second) ADD_FAILURE() << word;
    }
  };
  std::thread other(work);
  work();
  other.join();
}

}  // namespace
}  // namespace llamlx
