#include "base/base64.h"

#include <gtest/gtest.h>

namespace llamlx {
namespace {

TEST(Base64Test, DecodesTheVectorsOfItsStandard) {
  EXPECT_EQ(decode_base64(""), "");
  EXPECT_EQ(decode_base64("Zg=="), "f");
  EXPECT_EQ(decode_base64("Zm8="), "fo");
  EXPECT_EQ(decode_base64("Zm9v"), "foo");
  EXPECT_EQ(decode_base64("Zm9vYg=="), "foob");
  EXPECT_EQ(decode_base64("Zm9vYmE="), "fooba");
  EXPECT_EQ(decode_base64("Zm9vYmFy"), "foobar");
}

TEST(Base64Test, DecodesEveryByteAndTheWholeAlphabet) {
  EXPECT_EQ(decode_base64("AP+/"), std::string("\0\xFF\xBF", 3));
  EXPECT_EQ(decode_base64("+/+/"), "\xFB\xFF\xBF");
}

TEST(Base64Test, HasNothingForWhatIsNotBase64) {
  for (const char* text : {"Z", "Zg", "Zg=", "Zg===", "Z===", "====", "Zm9=v",
                           "Zm9v\n", "Zm-v", "Zm_v", " m9v", "Zm8=Zm8="}) {
    EXPECT_FALSE(decode_base64(text)) << text;
  }
}

TEST(Base64Test, HasNothingForBitsLeftOver) {
  EXPECT_FALSE(decode_base64("Zh=="));
  EXPECT_FALSE(decode_base64("Zm9="));
}

}  // namespace
}  // namespace llamlx
