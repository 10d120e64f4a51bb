#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::byte_level_tokenizer;
using testing::error_of;
using testing::SentencePieceBuilder;
using testing::TemporaryFolder;

TEST(TokenizerTest, AFolderWithoutATokenizerHasNone) {
  const TemporaryFolder folder;
  EXPECT_EQ(Tokenizer::load(folder.path()), nullptr);
}

TEST(TokenizerTest, PrefersTokenizerJson) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", byte_level_tokenizer().dump());
  folder.write("tokenizer.model", SentencePieceBuilder().build());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 256);
}

TEST(TokenizerTest, TakesTokenizerModelForWhatItCannotReadInJson) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json",
               R"({"model": {"type": "Unigram", "vocab": [["<unk>", 0.0]]}})");
  error_of(ErrorCode::unsupported, [&] { Tokenizer::load(folder.path()); });
  folder.write("tokenizer.model", SentencePieceBuilder().build());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 259);
}

TEST(TokenizerTest, ADamagedTokenizerJsonIsNotPassedOver) {
  const TemporaryFolder folder;
  folder.write("tokenizer.json", "{");
  folder.write("tokenizer.model", SentencePieceBuilder().build());
  error_of(ErrorCode::corrupt_file, [&] { Tokenizer::load(folder.path()); });
}

}  // namespace
}  // namespace llamlx
