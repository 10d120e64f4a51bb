#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer_files.h"

namespace llamlx {

/// The text of one sequence of ids, made id by id.
///
/// The pieces of all calls joined are the whole text, and each piece is whole
/// UTF-8: what can still change with the next id is held back. Costs O(1) an
/// id. Threads: one at a time.
class DecodeStream {
 public:
  virtual ~DecodeStream() = default;

  /// The text that has become certain with `id`; "" while a character is
  /// incomplete, and for ids that add no text.
  virtual std::string add(std::int32_t id) = 0;

  /// What was held back. Nothing may be added afterwards.
  virtual std::string finish() = 0;
};

/// Text to token ids and back, as the model was trained with.
///
/// Errors: load() throws Error naming the file, and the component when a
/// tokenizer.json asks for one that is not known: nothing is ever ignored.
/// encode() takes any bytes and decode() any ids. They throw Error only when a
/// regular expression of the file explodes on a text, and encode() when the
/// vocabulary has neither a character nor the unknown token the file promises.
/// Threads: const members may be called from several threads.
class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  /// Loads the tokenizer of a model folder (or the like): tokenizer.json when
  /// there is one (byte-level or byte-fallback BPE), else tokenizer.model
  /// (SentencePiece, or tiktoken's text: told apart by its bytes), else
  /// tekken.json, else a SentencePiece model under the name that Mistral gives
  /// it, the only tokenizer.model.v* there is. One of these is also taken when
  /// the tokenizer.json holds something unsupported. Null when the folder holds
  /// none.
  static std::unique_ptr<Tokenizer> load(const TokenizerFiles& files);

  /// The ids of `text`. Special tokens written out in the text are recognised.
  /// With `add_special_tokens`, also those the tokenizer puts around every text
  /// (a leading BOS, say). Each maximal ill-formed part of the UTF-8 counts as
  /// U+FFFD.
  virtual std::vector<std::int32_t> encode(std::string_view text,
                                           bool add_special_tokens) const = 0;

  /// The text of `ids`, without special tokens. Ids that have no token (the
  /// padding of an embedding, say) add nothing.
  std::string decode(std::span<const std::int32_t> ids) const;

  /// As decode(), id by id. The stream must not outlive the tokenizer.
  virtual std::unique_ptr<DecodeStream> decode_stream() const = 0;

  /// One more than the highest id, special and added ones included.
  virtual int vocab_size() const = 0;

  /// As tokenizer_config.json, else special_tokens_map.json, else the
  /// tokenizer's own file says. Empty when none names a token that exists.
  virtual std::optional<std::int32_t> bos_id() const = 0;
  virtual std::optional<std::int32_t> eos_id() const = 0;

  /// Every token that ends an answer, as far as the tokenizer's files tell:
  /// eos_id(), and where the format knows them also those that end a turn.
  virtual std::vector<std::int32_t> eos_ids() const;

  /// Whether `id` is left out of decoded text.
  virtual bool is_special(std::int32_t id) const = 0;
};

}  // namespace llamlx
