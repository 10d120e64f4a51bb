#include "tokenizer/tokenizer.h"

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::byte_level_tokenizer;
using testing::error_of;
using testing::ranked_tokens;
using testing::SentencePieceBuilder;
using testing::tekken_file;
using testing::TemporaryFolder;
using testing::tiktoken_file;

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

TEST(TokenizerTest, TellsWhatTokenizerModelIsByItsBytes) {
  const TemporaryFolder folder;
  folder.write("tokenizer.model", tiktoken_file(ranked_tokens(0)));
  EXPECT_NE(
      error_of(ErrorCode::unsupported, [&] { Tokenizer::load(folder.path()); })
          .find("tiktoken vocabulary of 256 tokens"),
      std::string::npos);
  folder.write("tokenizer.model", SentencePieceBuilder().build());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 259);
}

TEST(TokenizerTest, TakesTekkenAfterTheOthers) {
  const TemporaryFolder folder;
  folder.write("tokenizer.model.v3", "not even read");
  folder.write("tekken.json", tekken_file(ranked_tokens(0)).dump());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 276);
  folder.write("tokenizer.json",
               R"({"model": {"type": "Unigram", "vocab": [["<unk>", 0.0]]}})");
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 276);
  folder.write("tokenizer.model", SentencePieceBuilder().build());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 259);
}

TEST(TokenizerTest, TakesTheOnlyVersionOfTokenizerModel) {
  const TemporaryFolder folder;
  folder.write("tokenizer.model.v7m1", SentencePieceBuilder().build());
  EXPECT_EQ(Tokenizer::load(folder.path())->vocab_size(), 259);
  folder.write("tokenizer.model.v3", SentencePieceBuilder().build());
  const auto message =
      error_of(ErrorCode::unsupported, [&] { Tokenizer::load(folder.path()); });
  EXPECT_NE(message.find("v3"), std::string::npos) << message;
  EXPECT_NE(message.find("v7m1"), std::string::npos) << message;
}

TEST(TokenizerTest, FindsFilesThatLieNowhereByTheirVersionToo) {
  const TokenizerFiles files(
      "a.gguf", {{"tokenizer.model.v1", SentencePieceBuilder().build()},
                 {"tokenizer.models", ""}});
  EXPECT_EQ(Tokenizer::load(files)->vocab_size(), 259);
}

}  // namespace
}  // namespace llamlx
