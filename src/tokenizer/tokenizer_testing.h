#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/json.h"
#include "base/testing.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/component.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/tokenizer.h"

// Small tokenizers for the tests of this room. Only *_test.cpp files include
// this.
namespace llamlx::testing {

using Ids = std::vector<std::int32_t>;

inline Json parse(std::string_view text) { return Json::parse(text); }

/// A component as if it stood in "tokenizer.json" under the key "part". `json`
/// must outlive it.
inline Component component(const Json& json) {
  return Component(json, "tokenizer.json", "part");
}

/// A BPE model whose ids are: the 256 bytes in the byte-level alphabet, then
/// what each of `merges` makes ("a b" in that alphabet).
inline Json byte_level_model(const std::vector<std::string>& merges = {}) {
  Json vocab = Json::object();
  for (int byte = 0; byte < 256; ++byte) {
    vocab[to_byte_level(std::string(1, static_cast<char>(byte)))] = byte;
  }
  for (const std::string& merge : merges) {
    const std::size_t space = merge.find(' ');
    const auto id = vocab.size();
    vocab[merge.substr(0, space) + merge.substr(space + 1)] = id;
  }
  return {{"type", "BPE"}, {"vocab", vocab}, {"merges", merges}};
}

/// A tokenizer.json: byte-level BPE with no splitting of words.
inline Json byte_level_tokenizer(const std::vector<std::string>& merges = {}) {
  const Json byte_level = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}};
  return {{"version", "1.0"},
          {"added_tokens", Json::array()},
          {"pre_tokenizer", byte_level},
          {"decoder", byte_level},
          {"model", byte_level_model(merges)}};
}

inline Json added_token(int id, const std::string& content,
                        const Json& flags = Json::object()) {
  Json token = {{"id", id}, {"content", content}, {"special", true}};
  token.update(flags);
  return token;
}

/// A folder with one file, and the tokenizer loaded from it.
class TokenizerFolder {
 public:
  TokenizerFolder(std::string_view name, std::string_view content) {
    folder_.write(name, content);
  }
  explicit TokenizerFolder(const Json& tokenizer_json)
      : TokenizerFolder("tokenizer.json", tokenizer_json.dump()) {}

  TokenizerFolder& with(std::string_view name, const Json& content) {
    folder_.write(name, content.dump());
    return *this;
  }
  const std::filesystem::path& path() const { return folder_.path(); }
  std::unique_ptr<Tokenizer> load() const {
    return Tokenizer::load(folder_.path());
  }

 private:
  TemporaryFolder folder_;
};

/// Writes the fields of a Protocol Buffers message.
class ProtobufWriter {
 public:
  ProtobufWriter& number(int field, std::uint64_t value) {
    return varint(static_cast<std::uint64_t>(field) << 3).varint(value);
  }
  ProtobufWriter& bytes(int field, std::string_view value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 2).varint(value.size());
    text_ += value;
    return *this;
  }
  ProtobufWriter& real(int field, float value) {
    varint(static_cast<std::uint64_t>(field) << 3 | 5);
    auto bits = std::bit_cast<std::uint32_t>(value);
    for (int i = 0; i < 4; ++i, bits >>= 8) text_ += static_cast<char>(bits);
    return *this;
  }
  const std::string& text() const { return text_; }

 private:
  ProtobufWriter& varint(std::uint64_t value) {
    for (; value >= 0x80; value >>= 7) {
      text_ += static_cast<char>(value | 0x80);
    }
    text_ += static_cast<char>(value);
    return *this;
  }

  std::string text_;
};

inline constexpr const char* kMark = "\xE2\x96\x81";

/// Builds a tokenizer.model like Llama 2's: BPE with bytes for what has no
/// piece. Ids: 0 <unk>, 1 <s>, 2 </s>, 3 to 258 the bytes, then those added.
class SentencePieceBuilder {
 public:
  using Type = SentencePieceModel::Type;

  SentencePieceBuilder() {
    piece("<unk>", Type::unknown).piece("<s>", Type::control);
    piece("</s>", Type::control);
    constexpr std::string_view kDigits = "0123456789ABCDEF";
    for (std::size_t byte = 0; byte < 256; ++byte) {
      piece({'<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'},
            Type::byte);
    }
    trainer.number(3, 2).number(35, 1);
    normalizer.number(4, 0);  // keep extra spaces
  }

  /// Adds the next id. Pieces of two characters or more are merged, those with
  /// the higher score first.
  SentencePieceBuilder& piece(const std::string& text, Type type = Type::normal,
                              float score = 0) {
    ProtobufWriter message;
    message.bytes(1, text).real(2, score);
    message.number(3, static_cast<std::uint64_t>(type));
    pieces_.bytes(1, message.text());
    return *this;
  }

  std::string build() const {
    ProtobufWriter specs;
    specs.bytes(2, trainer.text()).bytes(3, normalizer.text());
    return pieces_.text() + specs.text();
  }

  ProtobufWriter trainer;
  ProtobufWriter normalizer;

 private:
  ProtobufWriter pieces_;
};

/// `bytes` in base64.
inline std::string to_base64(std::string_view bytes) {
  constexpr std::string_view kAlphabet =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string text;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const std::string_view group = bytes.substr(i, 3);
    std::uint32_t bits = 0;
    for (std::size_t k = 0; k < 3; ++k) {
      bits = bits << 8 |
             (k < group.size() ? static_cast<unsigned char>(group[k]) : 0u);
    }
    for (std::size_t k = 0; k < 4; ++k) {
      text += k <= group.size() ? kAlphabet[bits >> (18 - 6 * k) & 63] : '=';
    }
  }
  return text;
}

/// `size` different tokens by rank: the 256 bytes, `tokens`, and then pairs of
/// bytes from "zz" downwards and triples from the highest, as many as it takes.
inline std::vector<std::string> ranked_tokens(
    std::size_t size, const std::vector<std::string>& tokens = {}) {
  std::vector<std::string> list;
  for (int byte = 0; byte < 256; ++byte) {
    list.emplace_back(1, static_cast<char>(byte));
  }
  list.insert(list.end(), tokens.begin(), tokens.end());
  std::uint32_t next = 0x7A7A;
  while (list.size() < size) {
    std::string token;
    if (next > 0xFFFF) token += static_cast<char>(next >> 16);
    token += static_cast<char>(next >> 8 & 0xFF);
    token += static_cast<char>(next & 0xFF);
    list.push_back(std::move(token));
    next = next == 0 ? 0xFFFFFF : next - 1;
  }
  return list;
}

/// A tiktoken file of them.
inline std::string tiktoken_file(const std::vector<std::string>& tokens,
                                 std::string_view line_end = "\n") {
  std::string text;
  for (std::size_t rank = 0; rank < tokens.size(); ++rank) {
    text += concat(to_base64(tokens[rank]), " ", rank, line_end);
  }
  return text;
}

/// A tekken.json of `tokens` and 20 special ones. A word is a run of letters,
/// with a space before it if there is one.
inline Json tekken_file(const std::vector<std::string>& tokens) {
  Json vocab = Json::array();
  for (const std::string& token : tokens) {
    vocab.push_back({{"rank", vocab.size()},
                     {"token_bytes", to_base64(token)},
                     {"token_str", nullptr}});
  }
  return {{"config",
           {{"pattern", " ?[^\\s\\d]+|\\s+"},
            {"num_vocab_tokens", tokens.size()},
            {"default_vocab_size", tokens.size() + 20},
            {"default_num_special_tokens", 20},
            {"version", "v3"}}},
          {"vocab", vocab}};
}

}  // namespace llamlx::testing
