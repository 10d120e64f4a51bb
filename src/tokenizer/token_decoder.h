#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "tokenizer/component.h"

namespace llamlx {

/// One step of a decoder at work on one sequence of tokens. What it passes on
/// is final: the steps after it, and the reader, have it at once.
class DecodeStep {
 public:
  virtual ~DecodeStep() = default;

  /// Takes one token, passes on none or several. Errors: PatternError, when a
  /// pattern explodes on the token.
  virtual void add(std::string token, std::vector<std::string>& out) = 0;

  /// Passes on what was held back.
  virtual void finish(std::vector<std::string>& /*out*/) {}
};

/// Makes a step for a new sequence; settings are held by the function.
using DecodeStepMaker = std::function<std::unique_ptr<DecodeStep>()>;

/// Tokens to text: ByteLevel, Metaspace, Replace, ByteFallback, Fuse, Strip, or
/// a Sequence of them. Without a decoder, tokens are joined by spaces.
///
/// Sequences are taken as far as their text can be known before their end:
/// after Fuse or ByteLevel, which make one token of all, only Strip may follow.
///
/// Threads: const members may be called from several threads.
/// Source: the behaviour of Hugging Face's tokenizers 0.23, component by name.
class TokenDecoder {
 public:
  /// The decoder of a file that has none.
  TokenDecoder();

  /// Errors: Error naming the component (unsupported: an unknown type or order;
  /// corrupt_file: wrong settings).
  explicit TokenDecoder(const Component& component);

  /// The steps for a new sequence, to be run one after another.
  std::vector<std::unique_ptr<DecodeStep>> start() const;

 private:
  void append(const Component& component);

  std::vector<DecodeStepMaker> makers_;
  bool fused_ = false;  // what is appended next sees one token in fragments
};

}  // namespace llamlx
