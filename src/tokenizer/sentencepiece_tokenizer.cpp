#include "tokenizer/sentencepiece_tokenizer.h"

#include <algorithm>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <sentencepiece_processor.h>

#include "base/concat.h"
#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/added_vocabulary.h"
#include "tokenizer/sentencepiece_model.h"
#include "tokenizer/text_pattern.h"
#include "tokenizer/tokenizer_config.h"
#include "tokenizer/vocabulary.h"

namespace llamlx {
namespace {

using Processor = sentencepiece::SentencePieceProcessor;
using Type = SentencePieceModel::Type;

constexpr const char* kRemedy = "restore or download the file again";
constexpr std::string_view kSpaceMark = "\xE2\x96\x81";

struct Parts {
  std::string file;
  SentencePieceModel model;
  std::unique_ptr<Processor> processor;
  /// As `processor`, but puts no space before a text.
  std::unique_ptr<Processor> continuing;
  AddedVocabulary added;
  bool prefix_at_start = true;    // of the text
  bool prefix_everywhere = true;  // also after an added token
  std::optional<std::int32_t> bos_id = {};
  std::optional<std::int32_t> eos_id = {};
  bool add_bos = false;
  bool add_eos = false;
};

class SentencePieceTokenizer : public Tokenizer {
 public:
  explicit SentencePieceTokenizer(Parts parts) : parts_(std::move(parts)) {}

  std::vector<std::int32_t> encode(std::string_view text,
                                   bool add_special_tokens) const override;
  std::unique_ptr<DecodeStream> decode_stream() const override;

  int vocab_size() const override {
    const auto own = static_cast<std::int32_t>(parts_.model.pieces.size());
    return std::max(own, parts_.added.id_end());
  }
  std::optional<std::int32_t> bos_id() const override { return parts_.bos_id; }
  std::optional<std::int32_t> eos_id() const override { return parts_.eos_id; }
  bool is_special(std::int32_t id) const override {
    const auto index = static_cast<std::size_t>(id);
    return parts_.added.is_special(id) ||
           (id >= 0 && index < parts_.model.pieces.size() &&
            parts_.model.pieces[index].type == Type::control);
  }

  const Parts& parts() const { return parts_; }

 private:
  void encode_text(std::string_view text, bool at_start,
                   std::vector<std::int32_t>& ids) const;

  Parts parts_;
};

// Follows SentencePieceProcessor::Decode, piece by piece.
class SentencePieceStream : public DecodeStream {
 public:
  explicit SentencePieceStream(const SentencePieceTokenizer& tokenizer)
      : tokenizer_(tokenizer), model_(tokenizer.parts().model) {}

  std::string add(std::int32_t id) override {
    if (id < 0 || id >= tokenizer_.vocab_size()) return {};
    std::string text;
    const auto index = static_cast<std::size_t>(id);
    const auto* piece =
        index < model_.pieces.size() ? &model_.pieces[index] : nullptr;
    if (piece != nullptr && piece->type == Type::byte) {
      bytes_ += byte_of(piece->text);
      take_bytes(false, text);
    } else {
      take_bytes(true, text);
      if (space_dropped_ || !empty_ || !text.empty()) at_start_ = false;
      space_dropped_ = false;
      text += whole_text(id, piece);
    }
    empty_ = empty_ && text.empty();
    return text;
  }

  std::string finish() override {
    std::string text;
    take_bytes(true, text);
    return text;
  }

 private:
  static char byte_of(const std::string& piece) {
    return static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
  }

  // Moves the characters that are whole; at the end of a run of bytes, U+FFFD
  // for each byte left.
  void take_bytes(bool at_end, std::string& text) {
    while (!bytes_.empty()) {
      const Utf8Sequence sequence = scan_utf8(bytes_);
      if (sequence.incomplete && !at_end) return;
      const std::size_t length = sequence.valid ? sequence.length : 1;
      text += sequence.valid ? bytes_.substr(0, length)
                             : std::string(kReplacementCharacter);
      bytes_.erase(0, length);
    }
  }

  // The text of a token that is not a byte; `piece` is null for added ones.
  std::string whole_text(std::int32_t id,
                         const SentencePieceModel::Piece* piece) {
    if (tokenizer_.is_special(id)) return {};
    if (piece == nullptr) {
      const std::string* text = tokenizer_.parts().added.text(id);
      return text == nullptr ? std::string() : *text;
    }
    if (piece->type == Type::unknown) return model_.unk_surface;
    std::string_view rest = piece->text;
    const bool drops =
        model_.add_dummy_prefix || model_.remove_extra_whitespaces;
    if (at_start_ && drops && rest.starts_with(kSpaceMark)) {
      rest.remove_prefix(kSpaceMark.size());
      space_dropped_ = !model_.remove_extra_whitespaces;
    }
    return replace_all(rest, space_mark_.find(rest), " ");
  }

  const SentencePieceTokenizer& tokenizer_;
  const SentencePieceModel& model_;
  const TextPattern space_mark_{std::string(kSpaceMark)};
  std::string bytes_;           // of an incomplete character
  bool empty_ = true;           // no text so far
  bool at_start_ = true;        // a leading space may still be dropped
  bool space_dropped_ = false;  // by the piece before this one
};

std::vector<std::int32_t> SentencePieceTokenizer::encode(
    std::string_view text, bool add_special_tokens) const {
  const std::string valid = replace_ill_formed(text);
  std::vector<std::int32_t> ids;
  if (add_special_tokens && parts_.add_bos) ids.push_back(*parts_.bos_id);
  const auto view = [](std::string_view whole, const TextSegment& segment) {
    return whole.substr(segment.begin, segment.end - segment.begin);
  };
  for (const TextSegment& segment : parts_.added.split_raw(valid)) {
    if (segment.id != TextSegment::kText) {
      ids.push_back(segment.id);
      continue;
    }
    const std::string_view raw = view(valid, segment);
    // Nothing is normalized before SentencePiece does, so that the tokens
    // sought in normalized text are only sought later.
    for (const TextSegment& part : parts_.added.split_normalized(raw)) {
      if (part.id != TextSegment::kText) {
        ids.push_back(part.id);
      } else {
        encode_text(view(raw, part), segment.begin + part.begin == 0, ids);
      }
    }
  }
  if (add_special_tokens && parts_.add_eos) ids.push_back(*parts_.eos_id);
  return ids;
}

void SentencePieceTokenizer::encode_text(std::string_view text, bool at_start,
                                         std::vector<std::int32_t>& ids) const {
  const bool prefix =
      at_start ? parts_.prefix_at_start : parts_.prefix_everywhere;
  std::vector<int> encoded;
  const auto status = (prefix ? parts_.processor : parts_.continuing)
                          ->Encode({text.data(), text.size()}, &encoded);
  if (!status.ok()) {
    fail(ErrorCode::corrupt_file, parts_.file,
         concat("cannot encode: ", status.message()), kRemedy);
  }
  ids.insert(ids.end(), encoded.begin(), encoded.end());
}

std::unique_ptr<DecodeStream> SentencePieceTokenizer::decode_stream() const {
  return std::make_unique<SentencePieceStream>(*this);
}

// ---- Loading

std::unique_ptr<Processor> make_processor(const std::string& serialized,
                                          const std::string& file) {
  auto processor = std::make_unique<Processor>();
  std::string cause;
  try {
    const auto status = processor->LoadFromSerializedProto(serialized);
    if (status.ok()) return processor;
    cause = status.message();
  } catch (const std::exception& error) {  // of its trie, for one
    cause = error.what();
  }
  fail(ErrorCode::corrupt_file, file,
       concat("SentencePiece refuses it: ", cause), kRemedy);
}

// Messages of Protocol Buffers merge when joined, and the later value holds:
// normalizer_spec { add_dummy_prefix: false }.
std::string without_dummy_prefix(const std::string& serialized) {
  return serialized + std::string("\x1A\x02\x18\x00", 4);
}

// The tokens to cut out of texts. What the configuration adds comes before what
// the model itself names, and its ids may stand for other texts than there.
AddedVocabulary make_added(const TokenizerConfig& config,
                           const SentencePieceModel& model,
                           const std::string& file) {
  AddedVocabulary added;
  for (const AddedToken& token : config.added_tokens) {
    const char* fault = token.id < Vocabulary::kIdLimit
                            ? added.add(token, token.content)
                            : "has too high an id";
    if (fault != nullptr) {
      fail(ErrorCode::corrupt_file, file,
           concat("the added token \"", token.content, "\" ", fault),
           "correct tokenizer_config.json and added_tokens.json");
    }
  }
  std::int32_t id = 0;
  for (const auto& piece : model.pieces) {
    AddedToken token{piece.text, id++};
    token.special = piece.type == Type::control;
    const bool visible = token.special || piece.type == Type::user_defined ||
                         piece.type == Type::unknown;
    if (visible) added.add(token, token.content);
  }
  return added;
}

std::optional<std::int32_t> find_id(const Parts& parts,
                                    const std::optional<std::string>& token,
                                    int fallback) {
  if (!token) {
    if (fallback < 0) return {};
    return fallback;
  }
  if (const auto id = parts.added.find(*token)) return id;
  const auto& pieces = parts.model.pieces;
  const auto found =
      std::find_if(pieces.begin(), pieces.end(),
                   [&](const auto& piece) { return piece.text == *token; });
  if (found == pieces.end()) return {};
  return static_cast<std::int32_t>(found - pieces.begin());
}

}  // namespace

std::unique_ptr<Tokenizer> load_sentencepiece_tokenizer(
    const TokenizerFiles& files, const std::string& name) {
  const std::string file = files.subject(name);
  const TokenizerConfig config = read_tokenizer_config(files);
  const auto contents = files.read(name);
  Parts parts{
      file, read_sentencepiece_model(contents.text(), file), {}, {}, {}};
  parts.processor = make_processor(parts.model.serialized, parts.file);
  parts.continuing =
      make_processor(without_dummy_prefix(parts.model.serialized), parts.file);
  parts.model.serialized.clear();
  parts.added = make_added(config, parts.model, files.subject(""));
  parts.prefix_at_start = config.add_prefix_space.value_or(true);
  parts.prefix_everywhere =
      parts.prefix_at_start && config.legacy.value_or(false);
  parts.bos_id = find_id(parts, config.bos_token, parts.processor->bos_id());
  parts.eos_id = find_id(parts, config.eos_token, parts.processor->eos_id());
  parts.add_bos = parts.bos_id && config.add_bos_token.value_or(true);
  parts.add_eos = parts.eos_id && config.add_eos_token.value_or(false);
  return std::make_unique<SentencePieceTokenizer>(std::move(parts));
}

}  // namespace llamlx
