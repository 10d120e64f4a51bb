#include "tokenizer/bpe_tokenizer.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"
#include "base/utf8.h"
#include "tokenizer/searching.h"

namespace llamlx {
namespace {

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(BpeTokenizerParts parts) : parts_(std::move(parts)) {}

  std::vector<std::int32_t> encode(std::string_view text,
                                   bool add_special_tokens) const override;
  std::unique_ptr<DecodeStream> decode_stream() const override;

  int vocab_size() const override {
    return std::max(parts_.model.vocabulary().id_end(), parts_.added.id_end());
  }
  std::optional<std::int32_t> bos_id() const override { return parts_.bos_id; }
  std::optional<std::int32_t> eos_id() const override { return parts_.eos_id; }
  std::vector<std::int32_t> eos_ids() const override { return parts_.eos_ids; }
  bool is_special(std::int32_t id) const override {
    return parts_.added.is_special(id);
  }

  const BpeTokenizerParts& parts() const { return parts_; }

  // What the decoder is given for `id`; empty for ids that are left out.
  std::optional<std::string> decoded_token(std::int32_t id) const;

 private:
  void encode_segment(NormalizedText text,
                      std::vector<std::int32_t>& ids) const;
  void encode_words(NormalizedText text, std::vector<std::int32_t>& ids) const;

  BpeTokenizerParts parts_;
};

class BpeStream : public DecodeStream {
 public:
  explicit BpeStream(const BpeTokenizer& tokenizer)
      : tokenizer_(tokenizer), steps_(tokenizer.parts().decoder.start()) {}

  std::string add(std::int32_t id) override {
    if (tokenizer_.parts().special_ends_run && tokenizer_.is_special(id)) {
      std::string text = finish();
      steps_ = tokenizer_.parts().decoder.start();
      return text;
    }
    auto token = tokenizer_.decoded_token(id);
    if (!token) return {};
    return searching(tokenizer_.parts().file,
                     [&] { return run(0, {*std::move(token)}); });
  }

  std::string finish() override {
    std::string text;
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      std::vector<std::string> rest;
      steps_[i]->finish(rest);
      text += searching(tokenizer_.parts().file,
                        [&] { return run(i + 1, std::move(rest)); });
    }
    return text;
  }

 private:
  // Passes tokens through the steps from `first` on.
  std::string run(std::size_t first, std::vector<std::string> tokens) {
    for (std::size_t i = first; i < steps_.size(); ++i) {
      std::vector<std::string> out;
      for (std::string& token : tokens) steps_[i]->add(std::move(token), out);
      tokens = std::move(out);
    }
    std::string text;
    for (const std::string& token : tokens) text += token;
    return text;
  }

  const BpeTokenizer& tokenizer_;
  std::vector<std::unique_ptr<DecodeStep>> steps_;
};

std::vector<std::int32_t> BpeTokenizer::encode(std::string_view text,
                                               bool add_special_tokens) const {
  const std::string valid = replace_ill_formed(text);
  std::vector<std::int32_t> ids;
  searching(parts_.file, [&] {
    for (const TextSegment& segment : parts_.added.split_raw(valid)) {
      if (segment.id != TextSegment::kText) {
        ids.push_back(segment.id);
      } else {
        encode_segment(
            {valid.substr(segment.begin, segment.end - segment.begin),
             segment.begin == 0},
            ids);
      }
    }
  });
  return parts_.post_processor.apply(std::move(ids), add_special_tokens);
}

void BpeTokenizer::encode_segment(NormalizedText text,
                                  std::vector<std::int32_t>& ids) const {
  if (parts_.normalizer) parts_.normalizer->apply(text);
  for (const TextSegment& segment : parts_.added.split_normalized(text.text)) {
    if (segment.id != TextSegment::kText) {
      ids.push_back(segment.id);
    } else {
      encode_words(
          {text.text.substr(segment.begin, segment.end - segment.begin),
           text.at_start && segment.begin == 0},
          ids);
    }
  }
}

void BpeTokenizer::encode_words(NormalizedText text,
                                std::vector<std::int32_t>& ids) const {
  SplitText words(std::move(text));
  if (parts_.pre_tokenizer) parts_.pre_tokenizer->apply(words);
  for (const SplitText::Piece& piece : words.pieces) {
    if (!parts_.model.encode(words.view(piece), ids)) {
      fail(ErrorCode::mismatch, parts_.file,
           "model.vocab has neither a character of the text nor the unk_token",
           "correct the file or download it again");
    }
  }
}

std::optional<std::string> BpeTokenizer::decoded_token(std::int32_t id) const {
  if (const std::string* text = parts_.added.text(id)) {
    if (parts_.added.is_special(id)) return {};
    return *text;
  }
  const Vocabulary& vocabulary = parts_.model.vocabulary();
  if (!vocabulary.contains(id)) return {};
  return std::string(vocabulary.token(id));
}

std::unique_ptr<DecodeStream> BpeTokenizer::decode_stream() const {
  return std::make_unique<BpeStream>(*this);
}

}  // namespace

std::unique_ptr<Tokenizer> make_bpe_tokenizer(BpeTokenizerParts parts) {
  return std::make_unique<BpeTokenizer>(std::move(parts));
}

}  // namespace llamlx
