#include "tokenizer/tokenizer_config.h"

#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using testing::TemporaryFolder;

TEST(TokenizerConfigTest, AnEmptyFolderSaysNothing) {
  const TemporaryFolder folder;
  const auto config = read_tokenizer_config(folder.path());
  EXPECT_EQ(config.bos_token, std::nullopt);
  EXPECT_EQ(config.add_bos_token, std::nullopt);
  EXPECT_TRUE(config.added_tokens.empty());
}

TEST(TokenizerConfigTest, TheOlderFilesFillWhatTheConfigLeavesOut) {
  const TemporaryFolder folder;
  folder.write("tokenizer_config.json",
               R"({"bos_token": "<s>", "eos_token": null, "legacy": false,
                   "add_eos_token": true})");
  folder.write("special_tokens_map.json",
               R"({"bos_token": "<x>", "eos_token": "</s>",
                   "unk_token": {"content": "<unk>", "lstrip": false}})");
  const auto config = read_tokenizer_config(folder.path());
  EXPECT_EQ(config.bos_token, "<s>");
  EXPECT_EQ(config.eos_token, std::nullopt);  // said to be none
  EXPECT_EQ(config.unk_token, "<unk>");
  EXPECT_EQ(config.legacy, false);
  EXPECT_EQ(config.add_eos_token, true);
}

TEST(TokenizerConfigTest, ReadsAddedTokensOfBothFiles) {
  const TemporaryFolder folder;
  folder.write("tokenizer_config.json",
               R"({"added_tokens_decoder": {"7": {"content": "<a>",
                   "lstrip": true, "special": true}, "8": "<b>"},
                   "pad_token": "<pad>"})");
  folder.write("added_tokens.json", R"({"<a>": 99, "<pad>": 9, "<c>": 10})");
  const auto tokens = read_tokenizer_config(folder.path()).added_tokens;
  ASSERT_EQ(tokens.size(), 4u);
  EXPECT_EQ(tokens[0].id, 7);
  EXPECT_TRUE(tokens[0].lstrip);
  EXPECT_TRUE(tokens[0].special);
  EXPECT_EQ(tokens[1].content, "<b>");
  EXPECT_EQ(tokens[2].content, "<c>");
  EXPECT_FALSE(tokens[2].special);
  EXPECT_EQ(tokens[3].id, 9);
  EXPECT_TRUE(tokens[3].special);  // it is the pad_token
}

TEST(TokenizerConfigTest, NamesTheFileThatIsBroken) {
  const auto refused = [](const char* name, const char* content) {
    const TemporaryFolder folder;
    folder.write(name, content);
    const auto message = error_of(
        ErrorCode::corrupt_file, [&] { read_tokenizer_config(folder.path()); });
    EXPECT_NE(message.find(name), std::string::npos) << message;
  };
  const char* config = "tokenizer_config.json";
  refused(config, "{");
  refused(config, R"({"bos_token": 1})");
  refused(config, R"({"bos_token": {}})");
  refused(config, R"({"add_bos_token": "yes"})");
  refused(config, R"({"added_tokens_decoder": {"x": {"content": "a"}}})");
  refused(config, R"({"added_tokens_decoder": {"-1": {"content": "a"}}})");
  refused(config, R"({"added_tokens_decoder": {"1": {}}})");
  refused(config, R"({"added_tokens_decoder": {"99999999999": "a"}})");
  refused(config, R"({"added_tokens_decoder": {"1": {"content": "a",
                      "special": 3}}})");
  refused("special_tokens_map.json", R"({"eos_token": []})");
  refused("added_tokens.json", R"({"a": "b"})");
  refused("added_tokens.json", R"({"a": -4})");
}

}  // namespace
}  // namespace llamlx
