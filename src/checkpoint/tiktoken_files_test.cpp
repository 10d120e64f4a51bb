#include "checkpoint/tiktoken_files.h"

#include <algorithm>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using testing::Ids;
using testing::ranked_tokens;
using testing::SentencePieceBuilder;
using testing::TemporaryFolder;
using testing::tiktoken_file;

class TiktokenFilesTest : public ::testing::Test {
 protected:
  // Made once: a vocabulary of Llama 3's size takes its time.
  static const std::vector<SideFile>& files() {
    static const std::vector<SideFile> made = [] {
      const TemporaryFolder folder;
      const auto path = folder.write("tokenizer.model", original());
      return make_tiktoken_files(path, {{"max_position_embeddings", 8192}});
    }();
    return made;
  }

  static std::string original() {
    return tiktoken_file(ranked_tokens(128000, {"Hel", "Hello", "\xC3\xA9t"}));
  }

  static Json json(const std::string& name) {
    const auto found = std::ranges::find(files(), name, &SideFile::name);
    return found == files().end() ? Json() : Json::parse(found->content);
  }
};

TEST_F(TiktokenFilesTest, ListsTokensByRankAndMergesInOrder) {
  const Json model = json("tokenizer.json")["model"];
  EXPECT_EQ(model["vocab"].size(), 128000u);
  EXPECT_EQ(model["vocab"]["Hello"], 257);
  EXPECT_EQ(model["vocab"]["\xC3\x83\xC2\xA9t"], 258);
  EXPECT_EQ(model["ignore_merges"], true);
  const auto& merges = model["merges"];
  ASSERT_GT(merges.size(), 60000u);
  EXPECT_EQ(merges[0], "H el");
  EXPECT_EQ(merges[1], "He l");
  EXPECT_EQ(merges[2], "Hel lo");
}

TEST_F(TiktokenFilesTest, EncodesAndDecodesAsTheOriginal) {
  const TemporaryFolder before;
  before.write("tokenizer.model", original());
  const auto expected = Tokenizer::load(before.path());
  std::map<std::string, std::string> contents;
  for (const auto& file : files()) contents[file.name] = file.content;
  const auto made = Tokenizer::load(TokenizerFiles("made", contents));
  const std::string text =
      "Hello, \xC3\xA9t\xC3\xA9 1234<|eot_id|>\n\n  zzyzx \xF0\x9F\x98\x80";
  const auto ids = expected->encode(text, true);
  EXPECT_EQ(made->encode(text, true), ids);
  EXPECT_EQ(made->decode(ids), expected->decode(ids));
  EXPECT_EQ(made->vocab_size(), expected->vocab_size());
  EXPECT_EQ(made->bos_id(), expected->bos_id());
  EXPECT_EQ(made->eos_id(), expected->eos_id());
}

TEST_F(TiktokenFilesTest, NamesTheEndsOfTexts) {
  const Json config = json("tokenizer_config.json");
  EXPECT_EQ(config["bos_token"], "<|begin_of_text|>");
  EXPECT_EQ(config["eos_token"], "<|end_of_text|>");
  EXPECT_EQ(config["model_max_length"], 8192);
  const Json generation = json("generation_config.json");
  EXPECT_EQ(generation["bos_token_id"], 128000);
  EXPECT_EQ(generation["eos_token_id"], Json({128001, 128008, 128009}));
}

TEST_F(TiktokenFilesTest, MakesNoneOfASentencePieceModel) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("tokenizer.model", SentencePieceBuilder().build());
  EXPECT_THAT(make_tiktoken_files(path, Json::object()), ElementsAre());
}

TEST_F(TiktokenFilesTest, RefusesVocabulariesThatAreNotKnown) {
  const TemporaryFolder folder;
  const auto path =
      folder.write("tokenizer.model", tiktoken_file(ranked_tokens(300)));
  const auto message = error_of(ErrorCode::unsupported, [&] {
    make_tiktoken_files(path, Json::object());
  });
  EXPECT_NE(message.find("300 tokens"), std::string::npos) << message;
}

}  // namespace
}  // namespace llamlx
