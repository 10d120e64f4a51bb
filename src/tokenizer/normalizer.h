#pragma once

#include <memory>
#include <string>

#include "tokenizer/component.h"

namespace llamlx {

/// A text on its way through a tokenizer, well-formed UTF-8.
struct NormalizedText {
  std::string text;
  /// Whether the first character stems from the very first of the whole input;
  /// Metaspace's "first" asks.
  bool at_start = true;
};

/// Rewrites texts before they are split: NFC, NFD, NFKC, NFKD, Lowercase,
/// StripAccents, Strip, Prepend, Replace, ByteLevel, or a Sequence of them.
///
/// Threads: const members may be called from several threads.
/// Source: the behaviour of Hugging Face's tokenizers 0.23, component by name.
class Normalizer {
 public:
  virtual ~Normalizer() = default;

  /// Errors: PatternError, when a pattern explodes on the text.
  virtual void apply(NormalizedText& text) const = 0;
};

/// Makes the normalizer that `component` describes. Errors: Error naming it
/// (unsupported: an unknown type; corrupt_file: wrong settings).
std::unique_ptr<Normalizer> make_normalizer(const Component& component);

}  // namespace llamlx
