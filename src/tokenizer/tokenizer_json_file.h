#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tokenizer/vocabulary.h"

namespace llamlx {

/// The merges of a tokenizer.json, in order: pairs of tokens.
class MergeList {
 public:
  void add(std::string_view left, std::string_view right);

  std::size_t size() const { return spans_.size(); }
  std::string_view left(std::size_t index) const;
  std::string_view right(std::size_t index) const;
  /// The two joined.
  std::string_view joined(std::size_t index) const;

 private:
  struct Span {
    std::size_t left;
    std::size_t right;
    std::size_t end;
  };

  std::string text_;
  std::vector<Span> spans_;
};

/// A tokenizer.json as read: the two long tables of its model apart, the rest
/// as it stands.
struct TokenizerJsonFile {
  Json root;              ///< model.vocab and model.merges are null in it
  Vocabulary vocabulary;  ///< model.vocab
  MergeList merges;       ///< model.merges
  bool has_vocabulary = false;
  bool has_merges = false;
};

/// Reads the text of a tokenizer.json without building a tree of its tables,
/// which would take longer than all the rest of loading a tokenizer.
///
/// Errors: Error (corrupt_file) naming `subject`: what is not JSON, nests
/// deeper than any tokenizer, gives a token no id or two tokens one id.
TokenizerJsonFile read_tokenizer_json(std::string_view text,
                                      std::string_view subject);

}  // namespace llamlx
