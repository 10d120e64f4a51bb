#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// Text to token ids and back, as the model was trained with.
///
/// Errors: load() throws Error naming the file, and the component when a
/// tokenizer.json asks for one that is not known: nothing is ever ignored.
/// encode and decode do not throw for any bytes; ids out of range throw
/// std::invalid_argument.
/// Threads: const members may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Loads the tokenizer of a model folder: tokenizer.json when there is one
  /// (byte-level or byte-fallback BPE), else tokenizer.model (SentencePiece).
  /// Null when the folder holds neither.
  static std::unique_ptr<Tokenizer> load(const std::filesystem::path& folder);

  /// The ids of `text`. Special tokens written out in the text are recognised.
  /// With `add_special_tokens`, also those the tokenizer puts around every text
  /// (a leading BOS, say).
  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           bool add_special_tokens) const = 0;

  /// The text of `ids`, without special tokens. Bytes that are not UTF-8 become
  /// U+FFFD, one for each maximal ill-formed part, as Unicode recommends.
  std::string decode(std::span<const std::int32_t> ids) const;

  /// Number of ids, special and added ones included.
  virtual int vocab_size() const = 0;

  virtual std::optional<std::int32_t> bos_id() const = 0;
  virtual std::optional<std::int32_t> eos_id() const = 0;

  /// The bytes that `id` adds to a text, which may be part of a character;
  /// empty for special tokens. `first` is true for the first token of a text
  /// that is not special: some tokenizers drop its leading space.
  virtual std::string token_bytes(std::int32_t id, bool first) const = 0;

  virtual bool is_special(std::int32_t id) const = 0;
};

}  // namespace llamlx
