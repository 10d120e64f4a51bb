#pragma once

#include <cstdint>
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
/// token. Threads: one at a time.
class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(const Tokenizer& tokenizer);

  /// The text that has become whole with `id`; often one token's, "" while a
  /// character is incomplete.
  std::string add(std::int32_t id);

  /// What is left when no more ids come: U+FFFD for an incomplete character.
  std::string finish();

 private:
  const Tokenizer& tokenizer_;
  std::string pending_;  // bytes of an incomplete character, at most 3
  bool first_ = true;    // no ordinary token has been added yet
};

}  // namespace llamlx
