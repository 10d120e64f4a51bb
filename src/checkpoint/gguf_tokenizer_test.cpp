#include "checkpoint/gguf_tokenizer.h"

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"
#include "checkpoint/gguf_checkpoint.h"
#include "checkpoint/gguf_test_model.h"

namespace llamlx {
namespace {

using ::testing::Contains;
using testing::counting_floats;
using ::testing::ElementsAre;
using testing::error_of;
using testing::GgufBuilder;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using testing::TemporaryFolder;
using testing::tiny_llama;

using Strings = std::vector<std::string>;
using Types = std::vector<std::int32_t>;

GgufBuilder with_bpe() {
  auto file = tiny_llama();
  file.set("tokenizer.ggml.model", "gpt2")
      .set("tokenizer.ggml.pre", "smollm")
      .set("tokenizer.ggml.tokens",
           Strings{"<end>", "a", "b", "ab", "<think>", ""})
      .set("tokenizer.ggml.token_type", Types{3, 1, 1, 1, 4, 5})
      .set("tokenizer.ggml.merges", Strings{"a b"})
      .set("tokenizer.ggml.bos_token_id", std::uint32_t{0})
      .set("tokenizer.ggml.eos_token_id", std::uint32_t{0})
      .set("tokenizer.chat_template", "{{ messages }}");
  return file;
}

GgufBuilder with_sentencepiece() {
  auto file = tiny_llama();
  file.set("tokenizer.ggml.model", "llama")
      .set("tokenizer.ggml.tokens",
           Strings{"<unk>", "<s>", "</s>", "\xE2\x96\x81", "a", "<x>"})
      .set("tokenizer.ggml.scores", std::vector<float>{0, 0, 0, -1, -2.5f, 0})
      .set("tokenizer.ggml.token_type", Types{2, 3, 3, 1, 1, 4})
      .set("tokenizer.ggml.bos_token_id", std::uint32_t{1})
      .set("tokenizer.ggml.eos_token_id", std::uint32_t{2})
      .set("tokenizer.ggml.unknown_token_id", std::uint32_t{0});
  return file;
}

class GgufTokenizerTest : public ::testing::Test {
 protected:
  std::unique_ptr<Checkpoint> open(const GgufBuilder& file) {
    return open_gguf_checkpoint(folder_.write("model.gguf", file.bytes()));
  }

  std::string text(const GgufBuilder& file, const std::string& name) {
    for (const auto& each : open(file)->side_files()) {
      if (each.name == name) return each.content;
    }
    ADD_FAILURE() << "no " << name;
    return "{}";
  }
  Json json(const GgufBuilder& file, const std::string& name) {
    return Json::parse(text(file, name));
  }

  /// The file opens, but has no side files.
  std::string error(const GgufBuilder& file,
                    ErrorCode code = ErrorCode::corrupt_file) {
    const auto checkpoint = open(file);
    return error_of(code, [&] { checkpoint->side_files(); });
  }

  TemporaryFolder folder_;
};

TEST_F(GgufTokenizerTest, WritesAByteLevelTokenizer) {
  const auto tokenizer = json(with_bpe(), "tokenizer.json");
  const auto& model = tokenizer["model"];
  EXPECT_EQ(model["type"], "BPE");
  EXPECT_EQ(model["vocab"], Json::parse(R"({"<end>": 0, "a": 1, "b": 2,
      "ab": 3, "<think>": 4, "[EMPTY_5]": 5})"));
  EXPECT_EQ(model["merges"], Json::parse(R"(["a b"])"));
  EXPECT_EQ(model["ignore_merges"], false);
  EXPECT_EQ(tokenizer["normalizer"], nullptr);
  EXPECT_EQ(tokenizer["post_processor"], nullptr);
  EXPECT_EQ(tokenizer["decoder"]["type"], "ByteLevel");
  EXPECT_EQ(tokenizer["pre_tokenizer"], Json::parse(R"({"type": "Sequence",
      "pretokenizers": [{"type": "Digits", "individual_digits": true},
          {"type": "ByteLevel", "add_prefix_space": false,
           "trim_offsets": true, "use_regex": true}]})"));
  const auto& added = tokenizer["added_tokens"];
  ASSERT_EQ(added.size(), 2u);
  EXPECT_EQ(added[0]["id"], 0);
  EXPECT_EQ(added[0]["special"], true);
  EXPECT_EQ(added[1]["content"], "<think>");
  EXPECT_EQ(added[1]["special"], false);
}

TEST_F(GgufTokenizerTest, CutsTextAsThePreTokenizerSays) {
  const auto with = [&](const char* pre) {
    return json(with_bpe().set("tokenizer.ggml.pre", pre), "tokenizer.json");
  };
  const auto llama3 = with("llama-bpe");
  const auto& split = llama3["pre_tokenizer"]["pretokenizers"][0];
  EXPECT_EQ(split["behavior"], "Isolated");
  EXPECT_EQ(split["pattern"]["Regex"],
            "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+"
            "|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+"
            "|\\s+(?!\\S)|\\s+");
  EXPECT_EQ(llama3["pre_tokenizer"]["pretokenizers"][1]["use_regex"], false);
  EXPECT_EQ(llama3["model"]["ignore_merges"], true);
  EXPECT_EQ(with("qwen2")["normalizer"]["type"], "NFC");
  EXPECT_EQ(with("gpt-2")["pre_tokenizer"]["type"], "ByteLevel");
  EXPECT_EQ(with("default")["pre_tokenizer"]["pretokenizers"].size(), 5u);
}

TEST_F(GgufTokenizerTest, PutsTheTokensAroundATextThatTheFileAsksFor) {
  auto file = with_bpe();
  file.set("tokenizer.ggml.pre", "llama-bpe");
  const auto bos =
      Json::parse(R"({"SpecialToken": {"id": "<end>", "type_id": 0}})");
  const auto a = Json::parse(R"({"Sequence": {"id": "A", "type_id": 0}})");
  auto post = json(file, "tokenizer.json")["post_processor"];
  EXPECT_EQ(post["type"], "TemplateProcessing");
  EXPECT_EQ(post["single"], Json::array({bos, a}));
  EXPECT_EQ(post["special_tokens"]["<end>"],
            Json::parse(R"({"id": "<end>", "ids": [0], "tokens": ["<end>"]})"));
  file.set("tokenizer.ggml.add_eos_token", true);
  post = json(file, "tokenizer.json")["post_processor"];
  EXPECT_EQ(post["single"], Json::array({bos, a, bos}));
  EXPECT_EQ(post["pair"].size(), 6u);
  file.set("tokenizer.ggml.add_bos_token", false);
  post = json(file, "tokenizer.json")["post_processor"];
  EXPECT_EQ(post["single"], Json::array({a, bos}));
}

TEST_F(GgufTokenizerTest, WritesTheTokenizersSettings) {
  const auto config = json(with_bpe(), "tokenizer_config.json");
  EXPECT_EQ(config["tokenizer_class"], "PreTrainedTokenizerFast");
  EXPECT_EQ(config["bos_token"], "<end>");
  EXPECT_EQ(config["eos_token"], "<end>");
  EXPECT_FALSE(config.contains("pad_token"));
  EXPECT_EQ(config["add_bos_token"], false);
  EXPECT_EQ(config["chat_template"], "{{ messages }}");
  EXPECT_EQ(config["clean_up_tokenization_spaces"], false);
  EXPECT_EQ(config["model_max_length"], 64);
}

TEST_F(GgufTokenizerTest, CollectsTheIdsThatEndAnAnswer) {
  auto file = with_bpe();
  const auto alone = json(file, "generation_config.json");
  EXPECT_EQ(alone["eos_token_id"], 0);
  EXPECT_EQ(alone["bos_token_id"], 0);
  file.set("tokenizer.ggml.eot_token_id", std::uint32_t{4})
      .set("tokenizer.ggml.eom_token_id", std::uint32_t{0});
  EXPECT_EQ(json(file, "generation_config.json")["eos_token_id"],
            Json::array({0, 4}));
  EXPECT_EQ(open(file)->config()["eos_token_id"], Json::array({0, 4}));
}

TEST_F(GgufTokenizerTest, MentionsIdsOutsideTheVocabulary) {
  auto file = with_bpe();
  file.set("tokenizer.ggml.padding_token_id", std::uint32_t{4294967295});
  const auto checkpoint = open(file);
  EXPECT_THAT(checkpoint->notices(),
              Contains(HasSubstr("ignored tokenizer.ggml.padding_token_id "
                                 "4294967295: the vocabulary has 6 tokens")));
  EXPECT_FALSE(checkpoint->config().contains("pad_token_id"));
}

TEST_F(GgufTokenizerTest, MentionsThatTheCutIsAGuess) {
  const auto checkpoint = open(with_bpe().remove("tokenizer.ggml.pre"));
  EXPECT_THAT(checkpoint->notices(),
              Contains(HasSubstr("does not say how it cuts text")));
  EXPECT_FALSE(checkpoint->side_files().empty());
  EXPECT_THAT(open(with_bpe())->notices(), IsEmpty());
}

TEST_F(GgufTokenizerTest, DoesWithoutATokenizer) {
  const auto checkpoint = open(tiny_llama());
  EXPECT_THAT(checkpoint->side_files(), IsEmpty());
  EXPECT_THAT(checkpoint->notices(),
              ElementsAre("the file holds no tokenizer"));
}

TEST_F(GgufTokenizerTest, RefusesTokenizersItDoesNotKnow) {
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.pre", "new-bpe"),
                    ErrorCode::unsupported),
              HasSubstr("tokenizer.ggml.pre is \"new-bpe\""));
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.model", "rwkv"),
                    ErrorCode::unsupported),
              HasSubstr("the tokenizer is a \"rwkv\""));
}

TEST_F(GgufTokenizerTest, RefusesListsThatDoNotFitEachOther) {
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.token_type", Types{1, 1})),
              HasSubstr("token_type has 2 entries for 6 tokens"));
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.token_type",
                                   Types{3, 1, 1, 1, 4, 7})),
              HasSubstr("names the unknown type 7"));
  EXPECT_THAT(error(with_bpe().remove("tokenizer.ggml.tokens")),
              HasSubstr("tokenizer.ggml.tokens is missing"));
  EXPECT_THAT(error(with_bpe().remove("tokenizer.ggml.merges")),
              HasSubstr("tokenizer.ggml.merges is missing"));
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.tokens",
                                   Strings{"a", "b", "a", "c", "d", "e"})),
              HasSubstr("tokens 0 and 2 are both \"a\""));
  EXPECT_THAT(error(with_bpe().set("tokenizer.ggml.tokens",
                                   Strings{"\xff", "a", "b", "ab", "c", "d"})),
              HasSubstr("are not UTF-8"));
  EXPECT_THAT(error(with_sentencepiece().set("tokenizer.ggml.scores",
                                             std::vector<float>{1})),
              HasSubstr("scores has 1 entries for 6 tokens"));
  const Strings many(7, "x");
  EXPECT_THAT(
      error_of(ErrorCode::mismatch,
               [&] { open(with_bpe().set("tokenizer.ggml.tokens", many)); }),
      HasSubstr("tokenizer.ggml.tokens says 7"));
}

TEST_F(GgufTokenizerTest, RefusesMergesOfTokensThatAreMissing) {
  const auto merge = [&](const char* text) {
    return error(with_bpe().set("tokenizer.ggml.merges", Strings{text}));
  };
  EXPECT_THAT(merge("b a"), HasSubstr("merge 0 of tokenizer.ggml.merges, "
                                      "\"b a\", needs the token \"ba\""));
  EXPECT_THAT(merge("a c"), HasSubstr("needs the token \"c\""));
  EXPECT_THAT(merge("ab"), HasSubstr("is not two tokens"));
  EXPECT_THAT(merge("a b c"), HasSubstr("is not two tokens"));
  EXPECT_THAT(merge(""), HasSubstr("is not two tokens"));
}

TEST_F(GgufTokenizerTest, WritesASentencePieceModel) {
  const auto model = text(with_sentencepiece(), "tokenizer.model");
  // A piece: field 1 of the model, with its text, score and type.
  EXPECT_THAT(model, HasSubstr(std::string("\x0a\x0a\x0a\x01"
                                           "a\x15\x00\x00\x20\xc0\x18\x01",
                                           12)));
  EXPECT_THAT(model, HasSubstr("\x0a\x08identity"));
  const auto config = json(with_sentencepiece(), "tokenizer_config.json");
  EXPECT_EQ(config["tokenizer_class"], "LlamaTokenizer");
  EXPECT_EQ(config["add_bos_token"], true);
  EXPECT_EQ(config["unk_token"], "<unk>");
  EXPECT_EQ(config["legacy"], true);
  const auto& added = config["added_tokens_decoder"];
  EXPECT_EQ(added["1"]["special"], true);
  EXPECT_EQ(added["5"]["content"], "<x>");
  EXPECT_EQ(added["5"]["special"], false);
  EXPECT_FALSE(added.contains("4"));
}

TEST_F(GgufTokenizerTest, RefusesWhatSentencePieceWouldRefuse) {
  EXPECT_THAT(error(with_sentencepiece().set("tokenizer.ggml.token_type",
                                             Types{2, 2, 3, 1, 1, 1})),
              HasSubstr("has 2 unknown tokens"));
  EXPECT_THAT(error(with_sentencepiece().set("tokenizer.ggml.token_type",
                                             Types{2, 3, 3, 6, 1, 1})),
              HasSubstr("has 1 byte tokens"));
  EXPECT_THAT(error(with_sentencepiece().remove("tokenizer.ggml.scores")),
              HasSubstr("tokenizer.ggml.scores is missing"));
  auto untyped = with_sentencepiece().remove("tokenizer.ggml.token_type");
  EXPECT_FALSE(open(untyped)->side_files().empty());
  untyped.remove("tokenizer.ggml.unknown_token_id");
  EXPECT_THAT(error(untyped), HasSubstr("has 0 unknown tokens"));
}

/// Opens the file and reads all of it; an Error is as good as success.
void read_everything(const std::filesystem::path& path) {
  try {
    const auto checkpoint = open_gguf_checkpoint(path);
    for (const auto& info : checkpoint->weights()) checkpoint->load(info);
    checkpoint->side_files();
  } catch (const Error&) {
  }
}

TEST_F(GgufTokenizerTest, SurvivesEveryCorruptedByteOfTheHeader) {
  for (const auto& builder : {with_bpe(), with_sentencepiece()}) {
    const auto whole = builder.bytes();
    const auto path = folder_.write("model.gguf", whole);
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto put = [&](std::size_t at, int value) {
      file.seekp(static_cast<std::streamoff>(at));
      file.put(static_cast<char>(value)).flush();
    };
    for (std::size_t at = 0; at < builder.header().size(); ++at) {
      for (const int flip : {0x01, 0xff}) {
        put(at, whole[at] ^ flip);
        read_everything(path);
      }
      put(at, whole[at]);
    }
    EXPECT_NO_THROW(open_gguf_checkpoint(path)->side_files());
  }
}

}  // namespace
}  // namespace llamlx
