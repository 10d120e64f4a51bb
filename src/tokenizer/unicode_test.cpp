#include "tokenizer/unicode.h"

#include <chrono>
#include <string>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(UnicodeTest, KnowsWhiteSpace) {
  for (const unsigned space : {0x09, 0x0D, 0x20, 0x85, 0xA0, 0x1680, 0x2003,
                               0x2028, 0x202F, 0x205F, 0x3000}) {
    EXPECT_TRUE(is_whitespace(space)) << space;
  }
  for (const unsigned other : {0x08, 0x0E, 0x1C, 0x180E, 0x200B, 0xFEFF}) {
    EXPECT_FALSE(is_whitespace(other)) << other;
  }
}

TEST(UnicodeTest, KnowsCategories) {
  EXPECT_TRUE(is_numeric('7'));
  EXPECT_TRUE(is_numeric(0x0661));  // Arabic-Indic digit
  EXPECT_TRUE(is_numeric(0x2167));  // Roman numeral
  EXPECT_TRUE(is_numeric(0xBD));    // one half
  EXPECT_FALSE(is_numeric(0x4E00));
  EXPECT_TRUE(is_punctuation('$'));
  EXPECT_TRUE(is_punctuation(0x3002));
  EXPECT_FALSE(is_punctuation(0x20AC));
  EXPECT_TRUE(is_combining_mark(0x0301));
  EXPECT_FALSE(is_combining_mark('a'));
}

TEST(UnicodeTest, Normalizes) {
  const std::string angstrom = "\xE2\x84\xAB";
  EXPECT_EQ(normalize(angstrom, NormalizationForm::nfc), "\xC3\x85");
  EXPECT_EQ(normalize(angstrom, NormalizationForm::nfd), "A\xCC\x8A");
  const std::string ligature = "\xEF\xAC\x83";  // ffi
  EXPECT_EQ(normalize(ligature, NormalizationForm::nfc), ligature);
  EXPECT_EQ(normalize(ligature, NormalizationForm::nfkc), "ffi");
  EXPECT_EQ(normalize("\xE1\xB8\xAB", NormalizationForm::nfkd), "h\xCC\xAE");
  // Hangul is composed by rule, not by table.
  EXPECT_EQ(normalize("\xED\x95\x9C", NormalizationForm::nfd),
            "\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB");
  EXPECT_EQ(
      normalize("\xE1\x84\x92\xE1\x85\xA1\xE1\x86\xAB", NormalizationForm::nfc),
      "\xED\x95\x9C");
}

TEST(UnicodeTest, OrdersMarksByClassAndKeepsEquals) {
  // Dot above (230), dot below (220), acute (230).
  EXPECT_EQ(normalize("q\xCC\x87\xCC\xA3\xCC\x81", NormalizationForm::nfd),
            "q\xCC\xA3\xCC\x87\xCC\x81");
}

TEST(UnicodeTest, LongRunsOfMarksAreNotQuadratic) {
  std::string text = "a";
  for (int i = 0; i < 200'000; ++i) text += i % 2 ? "\xCC\x81" : "\xCC\x96";
  const auto start = std::chrono::steady_clock::now();
  EXPECT_EQ(normalize(text, NormalizationForm::nfd).size(), text.size());
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(20));
}

TEST(UnicodeTest, LowersEachCharacterByItself) {
  EXPECT_EQ(to_lowercase("AbC \xC3\x89 \xCE\xA3"), "abc \xC3\xA9 \xCF\x83");
  EXPECT_EQ(to_lowercase("\xC4\xB0"), "i\xCC\x87");  // I with dot above
}

}  // namespace
}  // namespace llamlx
