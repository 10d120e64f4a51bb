#include "tokenizer/tiktoken_file.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using testing::Ids;
using testing::ranked_tokens;
using testing::tiktoken_file;
using testing::to_base64;
using testing::TokenizerFolder;

const Tokenizer& llama3() {
  static const auto tokenizer =
      TokenizerFolder("tokenizer.model", tiktoken_file(ranked_tokens(
                                             128000, {"Hel", "Hello", "123"})))
          .load();
  return *tokenizer;
}

TEST(TiktokenFileTest, Llama3IsKnownByItsSize) {
  EXPECT_EQ(llama3().vocab_size(), 128256);
  EXPECT_EQ(llama3().bos_id(), 128000);
  EXPECT_EQ(llama3().eos_id(), 128001);
  EXPECT_EQ(llama3().eos_ids(), (Ids{128001, 128008, 128009}));
  EXPECT_EQ(llama3().encode("Hello", true), (Ids{128000, 257}));
  EXPECT_EQ(llama3().encode("1234", false), (Ids{258, '4'}));
}

TEST(TiktokenFileTest, Llama3sSpecialTokensAreRecognised) {
  EXPECT_EQ(llama3().encode("<|start_header_id|>Hello<|end_header_id|>"
                            "<|eot_id|><|reserved_special_token_245|>",
                            false),
            (Ids{128006, 257, 128007, 128009, 128255}));
  EXPECT_TRUE(llama3().is_special(128000));
  EXPECT_TRUE(llama3().is_special(128255));
  EXPECT_FALSE(llama3().is_special(127999));
  EXPECT_EQ(llama3().decode(Ids{128000, 256, 'l', 'o', 128009}), "Hello");
}

TEST(TiktokenFileTest, SpecialTokensDoNotEndARunOfBytes) {
  EXPECT_EQ(llama3().decode(Ids{0xC3, 128009, 0xA9}), "\xC3\xA9");
}

TEST(TiktokenFileTest, Llama4IsKnownByItsSize) {
  const auto tokenizer =
      TokenizerFolder("tokenizer.model", tiktoken_file(ranked_tokens(200000)))
          .load();
  EXPECT_EQ(tokenizer->vocab_size(), 202048);
  EXPECT_EQ(tokenizer->eos_ids(), (Ids{200001, 200007, 200008}));
  EXPECT_EQ(tokenizer->encode("<|fim_suffix|><|image_start|>"
                              "<|reasoning_thinking_end|>",
                              true),
            (Ids{200000, 200004, 200080, 201143}));
}

TEST(TiktokenFileTest, LinesMayEndInAnyWay) {
  const auto tokens = ranked_tokens(0);
  // Each of these is read to its end, and then refused for its size.
  for (const std::string& text :
       {tiktoken_file(tokens), tiktoken_file(tokens, "\r\n"),
        tiktoken_file(tokens, "\n\n"), "\n" + tiktoken_file(tokens),
        tiktoken_file(tokens) + to_base64("ab") + " 256"}) {
    const auto message = error_of(ErrorCode::unsupported,
                                  [&] { read_tiktoken(text, "the file"); });
    EXPECT_NE(message.find("the file: is a tiktoken vocabulary of 25"),
              std::string::npos)
        << message;
  }
}

TEST(TiktokenFileTest, IsToldFromASentencePieceModel) {
  EXPECT_TRUE(is_tiktoken("IQ== 0\nIg== 1\n"));
  EXPECT_TRUE(is_tiktoken("rubbish"));
  EXPECT_FALSE(is_tiktoken(testing::SentencePieceBuilder().build()));
  EXPECT_FALSE(is_tiktoken(""));
}

// ---- Files that cannot be used

std::string refusal(const std::string& text) {
  const TokenizerFolder folder("tokenizer.model", text);
  const auto message =
      error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
  EXPECT_NE(message.find("tokenizer.model"), std::string::npos) << message;
  return message;
}

void refuses(const std::string& line, std::string_view why) {
  const std::string message =
      refusal(tiktoken_file(ranked_tokens(0)) + line + "\n");
  EXPECT_NE(message.find(why), std::string::npos) << message;
}

TEST(TiktokenFileTest, RefusesLinesThatAreNone) {
  for (const char* line :
       {"YWI=", "YWI= ", "YWI= x", "YWI= 25x", "YWI=  256", "YWI= 256 ",
        "YWI=\t256", "YWI= +256", "YWI= 2 5", " ", "rubbish", "YWI= 1e2"}) {
    refuses(line, "line 257");
  }
  refuses("Y!== 256", "base64");
  refuses(" 256", "base64");
}

TEST(TiktokenFileTest, RefusesBadRanksAndTokens) {
  refuses("YWI= 3", "the rank 3");
  refuses("YWI= 300", "the rank 256");
  refuses("YWI= -1", "out of range");
  refuses("YWI= 4194304", "out of range");
  refuses("YWI= 99999999999999999999999", "out of range");
  refuses("AA== 256", "twice");
  refuses(to_base64(std::string(5000, 'a')) + " 256", "5000 bytes");
}

TEST(TiktokenFileTest, RefusesAVocabularyWithoutEveryByte) {
  auto tokens = ranked_tokens(0);
  tokens[65] = "not A";
  EXPECT_NE(refusal(tiktoken_file(tokens)).find("the byte 65"),
            std::string::npos);
}

TEST(TiktokenFileTest, RefusesFilesWithoutAnEnd) {
  const std::string huge(200'000'000, 'A');
  EXPECT_NE(error_of(ErrorCode::corrupt_file,
                     [&] { read_tiktoken(huge, "the file"); })
                .find("200000000 bytes"),
            std::string::npos);
  refusal(std::string(50'000'000, '\n'));
  refusal(std::string(50'000'000, 'A'));
  refusal("");
}

}  // namespace
}  // namespace llamlx
