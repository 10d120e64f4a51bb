#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "tokenizer/tokenizer.h"

namespace llamlx {

/// Turns ids into text as they come, handing out only whole characters.
///
/// Example:
///     StreamingDetokenizer detokenizer(tokenizer);
///     for (auto id : ids) std::cout << detokenizer.add(id);
///     std::cout << detokenizer.finish();
///
/// The pieces joined are always Tokenizer::decode of all ids. Costs O(1) a
/// token. Threads: one at a time. The tokenizer must live as long.
class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(const Tokenizer& tokenizer)
      : tokenizer_(&tokenizer), stream_(tokenizer.decode_stream()) {}

  /// The text that has become certain with `id`; often one token's, "" while a
  /// character is incomplete.
  std::string add(std::int32_t id) { return stream_->add(id); }

  /// What is left when no more ids come: U+FFFD for an incomplete character.
  /// The next add() begins a new text.
  std::string finish() {
    std::string rest = stream_->finish();
    stream_ = tokenizer_->decode_stream();
    return rest;
  }

 private:
  const Tokenizer* tokenizer_;
  std::unique_ptr<DecodeStream> stream_;
};

}  // namespace llamlx
