#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "formats/pickle.h"
#include "formats/pickle_input.h"

namespace llamlx {

/// What the machine that pickles are programs for works on: the values made so
/// far, a stack of them with marks in it, and a memo of numbered ones.
///
/// Limits   those of read_pickle().
/// Errors   PickleInput's: corrupt_file for taking what is not there,
///          unsupported beyond the limits.
class PickleStack {
 public:
  using Items = std::vector<const PickleValue*>;

  /// `input` is there for its errors, and must live longer.
  explicit PickleStack(const PickleInput& input) : input_(input) {}

  void push(PickleValue value);

  /// The topmost value above the last mark.
  PickleValue* top() const;
  PickleValue* pop();

  /// Pops the last mark when nothing is above it, else a value.
  void drop();

  /// Pushes the topmost value once more.
  void duplicate() { push_again(top()); }

  /// Takes values off the stack, the topmost last.
  Items take_last(std::size_t count);

  void mark();
  Items take_to_mark();

  /// Puts the topmost value into the memo; memoize() finds the number.
  void remember(std::uint64_t index);
  void memoize() { remember(remembered_); }

  /// Pushes a value of the memo.
  void recall(std::uint64_t index);

  /// Counts items that a container is given from elsewhere than the stack.
  void count_items(std::size_t more);

  /// All values, of which one must be left on the stack.
  Pickle finish() &&;

 private:
  void push_again(PickleValue* value);
  std::size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }
  Items take_from(std::size_t first);

  const PickleInput& input_;
  std::deque<PickleValue> values_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<PickleValue*> memo_;
  std::size_t remembered_ = 0;  // of memo_
  std::size_t items_ = 0;
};

}  // namespace llamlx
