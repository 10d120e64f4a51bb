#pragma once

#include <cstdint>
#include <vector>

#include "tokenizer/component.h"

namespace llamlx {

/// Puts the tokens around a text that every text gets: TemplateProcessing (its
/// "single" template), ByteLevel (which only moves offsets), or a Sequence.
///
/// Threads: const members may be called from several threads.
class PostProcessor {
 public:
  /// Adds nothing.
  PostProcessor() = default;

  /// Errors: Error naming the component (unsupported: an unknown type;
  /// corrupt_file: wrong settings).
  explicit PostProcessor(const Component& component);

  std::vector<std::int32_t> apply(std::vector<std::int32_t> ids,
                                  bool add_special_tokens) const;

  /// One more than the highest id that is ever added; 0 when none is.
  std::int64_t id_end() const;

 private:
  /// Tokens, or the place of the text.
  struct Piece {
    bool is_text;
    std::vector<std::int32_t> ids;
  };
  using Template = std::vector<Piece>;

  void append(const Component& component);
  static Template read_template(const Component& component);

  std::vector<Template> templates_;  // applied one after another
};

}  // namespace llamlx
