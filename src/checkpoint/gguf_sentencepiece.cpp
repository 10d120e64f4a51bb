#include "checkpoint/gguf_sentencepiece.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

[[noreturn]] void fail_corrupt(const GgufFile& file, std::string_view cause) {
  fail(ErrorCode::corrupt_file, file.path().string(), cause,
       "convert the model again with a current llama.cpp");
}

/// A protobuf message being written; a field that is itself a message is
/// written as a string.
/// Source: https://protobuf.dev/programming-guides/encoding
class ProtobufMessage {
 public:
  void add(int field, std::string_view text) {
    add_tag(field, 2);
    add_varint(text.size());
    bytes_ += text;
  }

  void add(int field, float value) {
    add_tag(field, 5);
    const auto bits = std::bit_cast<std::uint32_t>(value);
    for (int shift = 0; shift < 32; shift += 8) {
      bytes_ += static_cast<char>(bits >> shift & 0xff);
    }
  }

  /// Booleans, enums and int32; negative numbers take ten bytes.
  void add(int field, std::int64_t value) {
    add_tag(field, 0);
    add_varint(static_cast<std::uint64_t>(value));
  }

  const std::string& bytes() const { return bytes_; }

 private:
  void add_tag(int field, int wire_type) {
    add_varint(static_cast<std::uint64_t>(field) << 3 |
               static_cast<std::uint64_t>(wire_type));
  }

  void add_varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      bytes_ += static_cast<char>((value & 0x7f) | 0x80);
    }
    bytes_ += static_cast<char>(value);
  }

  std::string bytes_;
};

std::vector<double> read_scores(const GgufFile& file, std::size_t count) {
  constexpr const char* kKey = "tokenizer.ggml.scores";
  auto scores = file.require<std::vector<double>>(kKey);
  if (scores.size() != count) {
    fail_corrupt(file, concat(kKey, " has ", scores.size(), " entries for ",
                              count, " tokens"));
  }
  const auto is_odd = [](double score) { return !std::isfinite(score); };
  if (std::ranges::any_of(scores, is_odd)) {
    fail_corrupt(file, concat(kKey, " holds a score that is not finite"));
  }
  return scores;
}

/// The types of the pieces, with the one unknown token SentencePiece needs.
std::vector<GgufTokenType> check_types(const GgufFile& file,
                                       const GgufVocabulary& vocabulary,
                                       const GgufSpecialTokens& special) {
  auto types = vocabulary.types();
  if (std::ranges::count(types, GgufTokenType::unknown) == 0 && special.unk) {
    types[static_cast<std::size_t>(*special.unk)] = GgufTokenType::unknown;
  }
  const auto unknown = std::ranges::count(types, GgufTokenType::unknown);
  if (unknown != 1) {
    fail_corrupt(file, concat("the vocabulary has ", unknown,
                              " unknown tokens, SentencePiece needs one"));
  }
  const auto bytes = std::ranges::count(types, GgufTokenType::byte);
  if (bytes != 0 && bytes != 256) {
    fail_corrupt(file, concat("the vocabulary has ", bytes,
                              " byte tokens, SentencePiece needs all 256"));
  }
  return types;
}

ProtobufMessage make_trainer_spec(const std::vector<GgufTokenType>& types,
                                  const GgufVocabulary& vocabulary,
                                  const GgufSpecialTokens& special) {
  constexpr std::int64_t kBpe = 2;
  ProtobufMessage spec;
  spec.add(3, kBpe);
  spec.add(4, static_cast<std::int64_t>(types.size()));
  spec.add(35,
           std::int64_t{std::ranges::count(types, GgufTokenType::byte) != 0});
  const auto unk = std::ranges::find(types, GgufTokenType::unknown);
  const struct {
    int id_field;
    int piece_field;
    std::optional<std::int32_t> id;
  } pieces[] = {{40, 45, static_cast<std::int32_t>(unk - types.begin())},
                {41, 46, special.bos},
                {42, 47, special.eos},
                {43, 48, special.pad}};
  for (const auto& piece : pieces) {
    spec.add(piece.id_field, std::int64_t{piece.id.value_or(-1)});
    if (!piece.id) continue;
    spec.add(piece.piece_field,
             vocabulary.tokens()[static_cast<std::size_t>(*piece.id)]);
  }
  return spec;
}

ProtobufMessage make_normalizer_spec(const GgufFile& file) {
  ProtobufMessage spec;
  spec.add(1, "identity");
  spec.add(3, std::int64_t{adds_space_prefix(file)});
  spec.add(
      4, std::int64_t{file.get<bool>("tokenizer.ggml.remove_extra_whitespaces")
                          .value_or(false)});
  spec.add(5, std::int64_t{1});
  return spec;
}

}  // namespace

std::string make_gguf_sentencepiece(const GgufFile& file,
                                    const GgufVocabulary& vocabulary,
                                    const GgufSpecialTokens& special) {
  if (file.find_value("tokenizer.ggml.precompiled_charsmap") != nullptr) {
    fail(ErrorCode::unsupported, file.path().string(),
         "the tokenizer normalizes text by a table of characters",
         "take the model's safetensors and tokenizer instead");
  }
  const auto types = check_types(file, vocabulary, special);
  const auto scores = read_scores(file, types.size());
  ProtobufMessage model;
  for (std::size_t id = 0; id < types.size(); ++id) {
    ProtobufMessage piece;
    piece.add(1, vocabulary.tokens()[id]);
    piece.add(2, static_cast<float>(scores[id]));
    piece.add(3, static_cast<std::int64_t>(types[id]));
    model.add(1, piece.bytes());
  }
  model.add(2, make_trainer_spec(types, vocabulary, special).bytes());
  model.add(3, make_normalizer_spec(file).bytes());
  return model.bytes();
}

bool adds_space_prefix(const GgufFile& file) {
  return file.get<bool>("tokenizer.ggml.add_space_prefix").value_or(true);
}

}  // namespace llamlx
