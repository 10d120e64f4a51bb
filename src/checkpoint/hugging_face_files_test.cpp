#include "checkpoint/hugging_face_files.h"

#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using ::testing::IsEmpty;

const std::filesystem::path kSentencePiece =
    std::filesystem::path(LLAMLX_TEST_DATA) / "sentencepiece/tokenizer.model";

TEST(HuggingFaceFilesTest, SayWhatASentencePieceModelIs) {
  const auto made =
      make_hugging_face_files({{"tokenizer.model", kSentencePiece}}, {});
  ASSERT_EQ(made.size(), 1U);
  EXPECT_EQ(made[0].name, "tokenizer_config.json");
  const auto config = parse_json_object(made[0].content, "made");
  EXPECT_EQ(config["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(config["bos_token"], "<s>");
  EXPECT_EQ(config["eos_token"], "</s>");
  EXPECT_EQ(config["unk_token"], "<unk>");
}

TEST(HuggingFaceFilesTest, AreNotMadeOverOthers) {
  const SideFile model{"tokenizer.model", kSentencePiece};
  EXPECT_THAT(make_hugging_face_files({}, {}), IsEmpty());
  EXPECT_THAT(make_hugging_face_files({model, {"tokenizer.json"}}, {}),
              IsEmpty());
  EXPECT_THAT(make_hugging_face_files({model, {"tokenizer_config.json"}}, {}),
              IsEmpty());
}

TEST(HuggingFaceFilesTest, TellWhatEndsATextUnlessTheTokenizerDoes) {
  const SideFile model{"tokenizer.model", kSentencePiece};
  EXPECT_FALSE(make_generation_config({model}, {{"eos_token_id", 2}}));
  EXPECT_FALSE(make_generation_config({model}, {{"eos_token_id", nullptr}}));
  EXPECT_FALSE(make_generation_config({{"generation_config.json"}},
                                      {{"eos_token_id", 7}}));
  const auto told = make_generation_config(
      {model}, {{"bos_token_id", 1}, {"eos_token_id", {2, 7}}});
  ASSERT_TRUE(told);
  EXPECT_EQ(parse_json_object(told->content, "told"),
            Json({{"bos_token_id", 1}, {"eos_token_id", {2, 7}}}));
  EXPECT_TRUE(make_generation_config({}, {{"eos_token_id", 2}}));
}

}  // namespace
}  // namespace llamlx
