#include "base/utf8.h"

#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

namespace llamlx {
namespace {

using namespace std::string_literals;

// "?" for each U+FFFD.
std::string lossy(std::string_view bytes) {
  const std::string replaced = replace_ill_formed(bytes);
  std::string text;
  for (std::size_t i = 0; i < replaced.size();) {
    const char32_t code_point = next_code_point(replaced, i);
    append_utf8(text, code_point == 0xFFFD ? U'?' : code_point);
  }
  return text;
}

TEST(Utf8Test, KeepsWellFormedText) {
  const std::string text = "a\xC3\xA9\xE4\xB8\xAD\xF0\x9F\x98\x80\0z"s;
  EXPECT_TRUE(is_valid_utf8(text));
  EXPECT_EQ(replace_ill_formed(text), text);
}

// The examples of the Unicode Standard, tables 3-8 to 3-11.
TEST(Utf8Test, ReplacesEachMaximalIllFormedPartOnce) {
  EXPECT_EQ(lossy("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"), "????????A");
  EXPECT_EQ(lossy("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"), "????????A");
  EXPECT_EQ(lossy("\xF4\x91\x92\x93\xFF\x41\x80\xBF\x42"), "?????A??B");
  EXPECT_EQ(lossy("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), "????A");
  EXPECT_EQ(lossy("\xE4\xB8"), "?");
}

TEST(Utf8Test, ReadsBackEveryCodePointItWrites) {
  std::string text;
  const std::vector<char32_t> code_points = {
      0, 0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFF, 0x10000, 0x10FFFF};
  for (const char32_t code_point : code_points) append_utf8(text, code_point);
  EXPECT_TRUE(is_valid_utf8(text));
  std::size_t at = 0;
  for (const char32_t code_point : code_points) {
    EXPECT_EQ(utf8_length(text[at]), code_point < 0x80      ? 1u
                                     : code_point < 0x800   ? 2u
                                     : code_point < 0x10000 ? 3u
                                                            : 4u);
    EXPECT_EQ(next_code_point(text, at), code_point);
  }
  EXPECT_EQ(at, text.size());
}

TEST(Utf8Test, StreamEqualsTheWholeHoweverItIsCut) {
  const std::string bytes =
      "a\xE4\xB8\xAD\xF0\x9F\x98\x80\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\xC3";
  for (std::size_t cut = 0; cut <= bytes.size(); ++cut) {
    LossyUtf8Stream stream;
    std::string text;
    stream.add(bytes.substr(0, cut), text);
    EXPECT_TRUE(is_valid_utf8(text));
    stream.add(bytes.substr(cut), text);
    stream.finish(text);
    EXPECT_EQ(text, replace_ill_formed(bytes)) << cut;
  }
}

TEST(PrintableTest, NothingSteersATerminal) {
  EXPECT_EQ(printable("a\x1b[31mb\nc\x7f"), "a?[31mb?c?");
  EXPECT_EQ(printable("caf\xc3\xa9"), "caf\xc3\xa9");
  // C1's control sequence introducer, as a character and as a byte.
  EXPECT_EQ(printable("\xc2\x9b"
                      "1m"),
            "?1m");
  EXPECT_EQ(printable("\x9b"
                      "1m\xff"),
            "\xEF\xBF\xBD"
            "1m\xEF\xBF\xBD");
}

}  // namespace
}  // namespace llamlx
