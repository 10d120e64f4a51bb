#include "generate/stop_matcher.h"

#include <stdexcept>

#include <gtest/gtest.h>

#include "base/utf8.h"

namespace llamlx {
namespace {

using Strings = std::vector<std::string>;

/// What must be handed out, by looking at the whole text at once.
struct Expected {
  std::string text;
  std::string found;
};

Expected search(std::string_view text, const Strings& stop) {
  for (std::size_t end = 1; end <= text.size(); ++end) {
    std::string found;
    for (const auto& word : stop) {
      if (!text.substr(0, end).ends_with(word)) continue;
      if (word.size() > found.size()) found = word;
    }
    if (found.empty()) continue;
    return {std::string(text.substr(0, end - found.size())), found};
  }
  return {std::string(text), ""};
}

/// The most that may be held back: the longest end of `text` that is a proper
/// beginning of a stop string.
std::size_t longest_held(std::string_view text, const Strings& stop) {
  for (std::size_t size = text.size(); size > 0; --size) {
    const auto end = text.substr(text.size() - size);
    for (const auto& word : stop) {
      if (word.size() > size && word.starts_with(end)) return size;
    }
  }
  return 0;
}

/// Cuts `text` after each place whose bit is set in `cuts`.
Strings split(std::string_view text, std::size_t cuts) {
  Strings pieces(1);
  for (std::size_t i = 0; i < text.size(); ++i) {
    pieces.back() += text[i];
    if ((cuts >> i & 1) != 0) pieces.emplace_back();
  }
  return pieces;
}

void expect_same_in_pieces(std::string_view text, const Strings& stop,
                           std::size_t cuts) {
  const auto expected = search(text, stop);
  StopMatcher matcher(stop);
  std::string seen, out;
  for (const auto& piece : split(text, cuts)) {
    seen += piece;
    out += matcher.add(piece);
    if (matcher.stopped()) break;
    ASSERT_EQ(seen.size() - out.size(), longest_held(seen, stop))
        << text << " after " << seen;
  }
  out += matcher.finish();
  ASSERT_EQ(out, expected.text) << text << " cut by " << cuts;
  ASSERT_EQ(matcher.found(), expected.found) << text << " cut by " << cuts;
  if (!matcher.stopped()) return;
  ASSERT_EQ(matcher.add("more"), "");
}

TEST(StopMatcherTest, EverySplitGivesWhatTheWholeTextGives) {
  const std::vector<Strings> stops = {{"b"},           {"aa"},
                                      {"aba"},         {"aab", "ab"},
                                      {"abab"},        {"aabb", "b"},
                                      {"bb", "ab"},    {"abba", "bab", "aaa"},
                                      {"aaaaaaaa"},    {},
                                      {"abaab", "ba"}, {"baa", "aabaab"}};
  constexpr std::size_t kLength = 7;
  for (const auto& stop : stops) {
    // All texts of two letters, cut at every set of places.
    for (std::size_t letters = 0; letters < 1U << kLength; ++letters) {
      std::string text;
      for (std::size_t i = 0; i < kLength; ++i) {
        text += (letters >> i & 1) != 0 ? 'b' : 'a';
      }
      for (std::size_t cuts = 0; cuts < 1U << (kLength - 1); ++cuts) {
        expect_same_in_pieces(text, stop, cuts);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST(StopMatcherTest, FindsTheSeedsWordHoweverItIsCut) {
  const Strings stop = {"[Instruction]"};
  for (const std::string text :
       {"Yes.\n[Instruction]", "[Instruction]\nmore", "[Instr [[Instruction] ",
        "[Instruction", "[Instruction}", "][Inst"}) {
    for (std::size_t first = 0; first < text.size(); ++first) {
      for (std::size_t second = first; second < text.size(); ++second) {
        expect_same_in_pieces(
            text, stop, std::size_t{1} << first | std::size_t{1} << second);
        if (HasFatalFailure()) return;
      }
    }
    expect_same_in_pieces(text, stop, ~std::size_t{0});
  }
}

TEST(StopMatcherTest, ReleasesWhatDidNotBecomeAStopString) {
  StopMatcher matcher({"[Instruction]"});
  EXPECT_EQ(matcher.add("see [Inst"), "see ");
  EXPECT_EQ(matcher.add("ructio"), "");
  EXPECT_EQ(matcher.add("ns] [In"), "[Instructions] ");
  EXPECT_EQ(matcher.finish(), "[In");
  EXPECT_FALSE(matcher.stopped());
}

TEST(StopMatcherTest, TakesTheLongestOfThoseThatEndTogether) {
  StopMatcher matcher({"end", "the end", "d"});
  EXPECT_EQ(matcher.add("until the end."), "until ");
  EXPECT_EQ(matcher.found(), "the end");
}

TEST(StopMatcherTest, AStopStringInsideAnotherEndsTheTextFirst) {
  StopMatcher matcher({"abcd", "bc"});
  EXPECT_EQ(matcher.add("xabcd"), "xa");
  EXPECT_EQ(matcher.found(), "bc");
}

TEST(StopMatcherTest, NeverCutsACharacter) {
  // The same bytes begin both characters.
  const std::string dark = "\xf0\x9f\x8c\x91", full = "\xf0\x9f\x8c\x95";
  StopMatcher matcher({full + "!"});
  for (const auto& piece : {dark, full, dark, full + "?", full}) {
    EXPECT_TRUE(is_valid_utf8(matcher.add(piece)));
  }
  EXPECT_EQ(matcher.finish(), full);
}

TEST(StopMatcherTest, RefusesStopStringsThatMakeNoSense) {
  EXPECT_THROW(StopMatcher({"a", ""}), std::invalid_argument);
  EXPECT_THROW(StopMatcher({"\x9f"}), std::invalid_argument);
}

}  // namespace
}  // namespace llamlx
