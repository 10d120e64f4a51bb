#include "tokenizer/protobuf_reader.h"

#include <string>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using namespace std::string_literals;
using testing::ProtobufWriter;

TEST(ProtobufReaderTest, ReadsEachKindOfField) {
  ProtobufWriter writer;
  writer.number(1, 300).bytes(2, "ab").real(200, 1.5f);
  const std::string message = writer.text() + "\x19\1\0\0\0\0\0\0\0"s;
  ProtobufReader reader(message);
  auto field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->number, 1u);
  EXPECT_EQ(field->value, 300u);
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->bytes, "ab");
  EXPECT_EQ(field->record, "\x12\x02\x61\x62");
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->number, 200u);
  EXPECT_EQ(field->value, 0x3FC00000u);
  field = reader.next();
  ASSERT_TRUE(field);
  EXPECT_EQ(field->number, 3u);
  EXPECT_EQ(field->value, 1u);
  EXPECT_FALSE(reader.next());
  EXPECT_TRUE(reader.ok());
}

TEST(ProtobufReaderTest, StopsAtWhatIsBroken) {
  for (const std::string& message :
       {"\x08"s, "\x08\x80"s, "\x12\x05\x61"s, "\x15\1\2\3"s,
        "\x11\1\2\3\4\5\6\7"s, "\0\0"s, "\x0B"s, "\x0C"s, "\x0E\0"s, "\x0F\0"s,
        "\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1"s,
        "\x12\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\1"s}) {
    ProtobufReader reader(message);
    EXPECT_FALSE(reader.next());
    EXPECT_FALSE(reader.ok());
    EXPECT_FALSE(reader.next());
  }
}

}  // namespace
}  // namespace llamlx
