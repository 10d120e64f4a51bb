#pragma once

#include <exception>
#include <optional>
#include <vector>

#include "generate/sampler.h"
#include "models/decoder.h"

namespace llamlx {

/// The tokens that follow sequences which advance together, step by step, one
/// pass ahead: while the caller looks at the tokens of a step, the pass that
/// reads them already runs. It takes them as an array, before anyone has seen
/// them.
///
/// Example:
///     TokenLoop loop(decoder, sample, {{cache.get(), 1}},
///                    prefill(decoder, *cache, ids));
///     for (int i = 1; i <= count; ++i) print(loop.next(i < count).front());
///
/// Threads: one at a time. The decoder, the sampler and the caches outlive it.
class TokenLoop {
 public:
  /// `x` [B, D]: the last hidden states of the sequences; lazy or not. `rows`:
  /// their caches, a row each.
  TokenLoop(const Decoder& decoder, Sampler& sample, Rows rows,
            const mx::array& x);
  TokenLoop(const TokenLoop&) = delete;
  TokenLoop& operator=(const TokenLoop&) = delete;

  /// A pass that was begun in vain ends early, where its kernels can, and its
  /// rows are taken back. What went wrong in it concerns nobody.
  ~TokenLoop();

  /// The next token of every sequence. With `goes_on` the pass that reads them
  /// is begun: say so unless it is known that no more are wanted.
  /// Errors: Error (not_finite); what evaluating throws, for the tokens whose
  /// making failed and not before; std::invalid_argument when the last call
  /// said that none would follow.
  std::vector<std::int32_t> next(bool goes_on);

 private:
  /// Begins to choose the tokens after hidden states `x`.
  void choose(const mx::array& x);
  /// Begins the pass that reads `tokens`, or keeps what it throws.
  void read(const mx::array& tokens);
  /// Throws why there are no tokens, as it was thrown where a cache knows it.
  [[noreturn]] void fail();

  const Decoder& decoder_;
  Sampler& sample_;
  Rows rows_;
  std::optional<mx::array> tokens_;  // that next() will give
  bool is_ahead_ = false;            // of what next() has given
  std::exception_ptr error_;         // of what next() would give
};

}  // namespace llamlx
