#include "tokenizer/sentencepiece_tokenizer.h"

#include <limits>
#include <string>

#include <gtest/gtest.h>
#include <sentencepiece_processor.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using namespace std::string_literals;
using testing::error_of;
using testing::Ids;
using testing::kMark;
using testing::ProtobufWriter;
using testing::SentencePieceBuilder;
using testing::TokenizerFolder;
using Type = SentencePieceModel::Type;

constexpr std::int32_t kUnk = 0, kBos = 1, kEos = 2, kByte = 3;
constexpr std::int32_t kSpace = 259, kA = 260, kSpaceA = 262, kUser = 263;

const std::string kUnknown = "\xEF\xBF\xBD";

SentencePieceBuilder small_model() {
  SentencePieceBuilder builder;
  builder.piece(kMark, Type::normal, -4);
  builder.piece("a", Type::normal, -5);
  builder.piece("b", Type::normal, -6);
  builder.piece(kMark + "a"s, Type::normal, -1);
  builder.piece("<u>", Type::user_defined);
  return builder;
}

TokenizerFolder folder_of(const SentencePieceBuilder& builder) {
  return TokenizerFolder("tokenizer.model", builder.build());
}

Ids encode(const TokenizerFolder& folder, std::string_view text,
           bool special = false) {
  return folder.load()->encode(text, special);
}

std::string refusal(ErrorCode code, std::string_view model) {
  const TokenizerFolder folder("tokenizer.model", model);
  const auto message = error_of(code, [&] { folder.load(); });
  EXPECT_NE(message.find("tokenizer.model"), std::string::npos) << message;
  return message;
}

TEST(SentencePieceTokenizerTest, EncodesWithASpaceBefore) {
  const TokenizerFolder folder = folder_of(small_model());
  EXPECT_EQ(encode(folder, "ab"), (Ids{kSpaceA, 261}));
  EXPECT_EQ(encode(folder, " a"), (Ids{kSpace, kSpaceA}));
  EXPECT_EQ(encode(folder, ""), Ids{});
  EXPECT_EQ(encode(folder, "\xC3\xA9"),
            (Ids{kSpace, kByte + 0xC3, kByte + 0xA9}));
  EXPECT_EQ(encode(folder, "\xFF"),
            (Ids{kSpace, kByte + 0xEF, kByte + 0xBF, kByte + 0xBD}));
}

TEST(SentencePieceTokenizerTest, PutsBosFirstUnlessToldOtherwise) {
  TokenizerFolder folder = folder_of(small_model());
  EXPECT_EQ(encode(folder, "a", true), (Ids{kBos, kSpaceA}));
  folder.with("tokenizer_config.json",
              {{"add_bos_token", false}, {"add_eos_token", true}});
  EXPECT_EQ(encode(folder, "a", true), (Ids{kSpaceA, kEos}));
  EXPECT_EQ(folder.load()->bos_id(), kBos);
  EXPECT_EQ(folder.load()->eos_id(), kEos);
  folder.with("tokenizer_config.json", {{"eos_token", "<u>"}});
  EXPECT_EQ(folder.load()->eos_id(), kUser);
}

TEST(SentencePieceTokenizerTest, RecognisesSpecialTokensInTexts) {
  TokenizerFolder folder = folder_of(small_model());
  EXPECT_EQ(encode(folder, "<s>a</s>"), (Ids{kBos, kA, kEos}));
  EXPECT_EQ(encode(folder, "a<s>a"), (Ids{kSpaceA, kBos, kA}));
  EXPECT_EQ(encode(folder, "<s> a<unk>"), (Ids{kBos, kSpaceA, kUnk}));
  EXPECT_EQ(encode(folder, "<u>"), (Ids{kUser}));
  folder.with("tokenizer_config.json", {{"legacy", true}});
  EXPECT_EQ(encode(folder, "<s>a"), (Ids{kBos, kSpaceA}));
  folder.with("tokenizer_config.json", {{"add_prefix_space", false}});
  EXPECT_EQ(encode(folder, "a<s>a"), (Ids{kA, kBos, kA}));
}

TEST(SentencePieceTokenizerTest, KnowsTokensAddedByTheConfig) {
  TokenizerFolder folder = folder_of(small_model());
  folder.with("tokenizer_config.json",
              {{"added_tokens_decoder",
                {{"300", {{"content", "<x>"}, {"special", true}}},
                 {"301", {{"content", "<y>"}, {"special", false}}}}}});
  const auto tokenizer = folder.load();
  EXPECT_EQ(tokenizer->vocab_size(), 302);
  EXPECT_EQ(tokenizer->encode("<x>a<y>", false), (Ids{300, kA, 301}));
  EXPECT_EQ(tokenizer->decode(Ids{300, kA, 301, 299, 302, -1}), "a<y>");
  EXPECT_TRUE(tokenizer->is_special(300));
  EXPECT_TRUE(tokenizer->is_special(kBos));
  EXPECT_FALSE(tokenizer->is_special(301));
  EXPECT_FALSE(tokenizer->is_special(kUnk));
}

TEST(SentencePieceTokenizerTest, StreamsWhatIsCertain) {
  const auto tokenizer = folder_of(small_model()).load();
  const auto stream = tokenizer->decode_stream();
  EXPECT_EQ(stream->add(kBos), "");
  EXPECT_EQ(stream->add(kSpaceA), "a");
  EXPECT_EQ(stream->add(kSpaceA), " a");
  EXPECT_EQ(stream->add(kByte + 0xE4), "");
  EXPECT_EQ(stream->add(kByte + 0xB8), "");
  EXPECT_EQ(stream->add(kByte + 0xAD), "\xE4\xB8\xAD");
  EXPECT_EQ(stream->add(kByte + 0xE4), "");
  EXPECT_EQ(stream->add(kByte + 0xB8), "");
  EXPECT_EQ(stream->add(kA), kUnknown + kUnknown + "a");
  EXPECT_EQ(stream->add(kUnk), " \xE2\x81\x87 ");
  EXPECT_EQ(stream->add(kByte + 0xC3), "");
  EXPECT_EQ(stream->finish(), kUnknown);
}

// All sequences of three of these ids, for models that treat spaces in each of
// the four ways.
TEST(SentencePieceTokenizerTest, DecodesAsTheLibrary) {
  const Ids some = {kUnk,         kBos,         kSpace,       kA,
                    kSpaceA,      kUser,        kByte + 0x20, kByte + 0xC3,
                    kByte + 0xA9, kByte + 0xE4, kByte + 0xFF};
  for (int way = 0; way < 4; ++way) {
    SentencePieceBuilder builder = small_model();
    builder.normalizer.number(3, way & 1).number(4, way >> 1);
    const auto tokenizer = folder_of(builder).load();
    sentencepiece::SentencePieceProcessor processor;
    ASSERT_TRUE(processor.LoadFromSerializedProto(builder.build()).ok());
    for (const auto first : some) {
      for (const auto second : some) {
        for (const auto third : some) {
          const Ids ids = {first, second, third, kSpaceA};
          std::string expected;
          ASSERT_TRUE(processor.Decode(ids, &expected).ok());
          ASSERT_EQ(tokenizer->decode(ids), expected)
              << way << ": " << first << " " << second << " " << third;
        }
      }
    }
  }
}

TEST(SentencePieceTokenizerTest, RefusesDamagedFiles) {
  const std::string whole = small_model().build();
  refusal(ErrorCode::corrupt_file, "");
  refusal(ErrorCode::corrupt_file, "not a model");
  for (std::size_t size = 1; size < whole.size(); size += 97) {
    const TokenizerFolder folder("tokenizer.model", whole.substr(0, size));
    // Cut between two pieces, the file is well-formed but lacks bytes.
    error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
  }
}

TEST(SentencePieceTokenizerTest, SurvivesDamagedBytes) {
  std::string model = small_model().build();
  for (std::size_t i = 0; i < model.size(); i += 37) {
    const char kept = model[i];
    for (const char damage : {'\0', '\x7F', '\xFF'}) {
      model[i] = damage;
      const TokenizerFolder folder("tokenizer.model", model);
      try {
        const auto tokenizer = folder.load();
        tokenizer->decode(tokenizer->encode("a <s> ab\xC3\xA9", true));
      } catch (const Error&) {
      }
    }
    model[i] = kept;
  }
}

TEST(SentencePieceTokenizerTest, RefusesModelsTheLibraryWouldTrust) {
  const auto with = [](const std::string& text, Type type) {
    SentencePieceBuilder builder = small_model();
    builder.piece(text, type);
    return builder.build();
  };
  const auto corrupt = ErrorCode::corrupt_file;
  refusal(corrupt, with("", Type::normal));
  refusal(corrupt, with("a", Type::normal));
  refusal(corrupt, with("<unk2>", Type::unknown));
  refusal(corrupt, with("x\0y"s, Type::user_defined));
  refusal(corrupt, with("\xFF", Type::normal));
  refusal(corrupt, with("z", static_cast<Type>(9)));
  refusal(corrupt, with("<0xGG>", Type::byte));
  SentencePieceBuilder builder = small_model();
  builder.piece("z", Type::normal, std::numeric_limits<float>::quiet_NaN());
  refusal(corrupt, builder.build());
  builder = small_model();
  for (std::size_t i = 2; i < 80; ++i) {
    builder.piece(std::string(i, 'u'), Type::user_defined);
  }
  refusal(corrupt, builder.build());
  builder = small_model();
  builder.trainer.number(3, 7);
  refusal(ErrorCode::unsupported, builder.build());
}

TEST(SentencePieceTokenizerTest, RefusesBrokenNormalizationRules) {
  const auto with = [](const std::string& rules) {
    SentencePieceBuilder builder = small_model();
    builder.normalizer.bytes(2, rules);
    return builder.build();
  };
  // The size of the trie, its units, and the texts.
  const auto trie = [](std::uint32_t size, std::uint32_t first) {
    std::string rules;
    for (int i = 0; i < 4; ++i) rules += static_cast<char>(size >> (8 * i));
    std::string units(1024, '\0');
    for (int i = 0; i < 4; ++i) {
      units[static_cast<std::size_t>(i)] = static_cast<char>(first >> (8 * i));
    }
    return rules + units + "text\0"s;
  };
  const auto corrupt = ErrorCode::corrupt_file;
  refusal(corrupt, with("x"));
  refusal(corrupt, with("\xFF\xFF\xFF\x7Fxxxx"));
  refusal(corrupt, with(trie(1024, 0xFFFFFC00)));  // children beyond the end
  refusal(corrupt, with(trie(1024, 0)));           // its own child
  refusal(corrupt, with(trie(99999, 0)));
}

TEST(SentencePieceTokenizerTest, RefusesDenormalizationRules) {
  ProtobufWriter rules;
  rules.bytes(2, "rules");
  ProtobufWriter spec;
  spec.bytes(5, rules.text());
  refusal(ErrorCode::unsupported, small_model().build() + spec.text());
}

TEST(SentencePieceTokenizerTest, RefusesAddedTokensThatClash) {
  TokenizerFolder folder = folder_of(small_model());
  folder.with("tokenizer_config.json",
              {{"added_tokens_decoder", {{"99999999", {{"content", "a"}}}}}});
  error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
  folder.with(
      "tokenizer_config.json",
      {{"added_tokens_decoder",
        {{"300", {{"content", "<x>"}}}, {"301", {{"content", "<x>"}}}}}});
  error_of(ErrorCode::corrupt_file, [&] { folder.load(); });
}

}  // namespace
}  // namespace llamlx
