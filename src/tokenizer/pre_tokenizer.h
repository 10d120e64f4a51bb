#pragma once

#include <memory>
#include <string>
#include <vector>

#include "tokenizer/component.h"
#include "tokenizer/normalizer.h"

namespace llamlx {

/// A text split into pieces, which are encoded each by itself. The pieces lie
/// in order in one string; what lies between them has been removed.
struct SplitText {
  struct Piece {
    std::size_t begin;
    std::size_t end;
    bool at_start;  ///< as NormalizedText::at_start
  };

  explicit SplitText(NormalizedText whole)
      : text(std::move(whole.text)), pieces{{0, text.size(), whole.at_start}} {}

  std::string_view view(const Piece& piece) const {
    return std::string_view(text).substr(piece.begin, piece.end - piece.begin);
  }

  std::string text;
  std::vector<Piece> pieces;  // none is empty once split
};

/// Splits texts: ByteLevel, Metaspace, Split, Digits, Punctuation, Whitespace,
/// WhitespaceSplit, or a Sequence of them.
///
/// Threads: const members may be called from several threads.
/// Source: the behaviour of Hugging Face's tokenizers 0.23, component by name.
class PreTokenizer {
 public:
  virtual ~PreTokenizer() = default;

  /// Splits every piece further. Errors: PatternError, when a pattern explodes
  /// on the text.
  virtual void apply(SplitText& text) const = 0;
};

/// Makes the pre-tokenizer that `component` describes. Errors: Error naming it
/// (unsupported: an unknown type; corrupt_file: wrong settings).
std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Component& component);

}  // namespace llamlx
