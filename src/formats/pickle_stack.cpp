#include "formats/pickle_stack.h"

#include <utility>

#include "base/concat.h"

namespace llamlx {
namespace {

constexpr std::size_t kMostValues = 2'000'000;
constexpr std::size_t kMostItems = 8'000'000;
constexpr std::size_t kDeepestStack = 4'000'000;
constexpr std::size_t kMostMarks = 10'000;

}  // namespace

void PickleStack::push(PickleValue value) {
  if (values_.size() >= kMostValues) {
    input_.fail_unsupported(concat("has more than ", kMostValues, " values"));
  }
  values_.push_back(std::move(value));
  push_again(&values_.back());
}

void PickleStack::push_again(PickleValue* value) {
  if (stack_.size() >= kDeepestStack) {
    input_.fail_unsupported("needs too deep a stack");
  }
  stack_.push_back(value);
}

PickleValue* PickleStack::top() const {
  if (stack_.size() <= bottom()) input_.fail_corrupt("takes from no value");
  return stack_.back();
}

PickleValue* PickleStack::pop() {
  auto* value = top();
  stack_.pop_back();
  return value;
}

void PickleStack::drop() {
  if (!marks_.empty() && stack_.size() == marks_.back()) {
    marks_.pop_back();
  } else {
    pop();
  }
}

PickleStack::Items PickleStack::take_from(std::size_t first) {
  const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(first);
  Items items(begin, stack_.end());
  stack_.erase(begin, stack_.end());
  count_items(items.size());
  return items;
}

PickleStack::Items PickleStack::take_last(std::size_t count) {
  if (stack_.size() - bottom() < count) {
    input_.fail_corrupt("takes from no value");
  }
  return take_from(stack_.size() - count);
}

void PickleStack::mark() {
  if (marks_.size() >= kMostMarks) {
    input_.fail_unsupported(
        concat("nests more than ", kMostMarks, " values in one another"));
  }
  marks_.push_back(stack_.size());
}

PickleStack::Items PickleStack::take_to_mark() {
  if (marks_.empty()) input_.fail_corrupt("has no mark where it needs one");
  auto items = take_from(marks_.back());
  marks_.pop_back();
  return items;
}

void PickleStack::remember(std::uint64_t index) {
  // Python numbers them one after another, so none is as large.
  if (index >= kMostValues) {
    input_.fail_unsupported(concat("remembers a value by number ", index));
  }
  auto* value = top();
  if (index >= memo_.size()) memo_.resize(index + 1, nullptr);
  if (memo_[index] == nullptr) ++remembered_;
  memo_[index] = value;
}

void PickleStack::recall(std::uint64_t index) {
  if (index >= memo_.size() || memo_[index] == nullptr) {
    input_.fail_corrupt(
        concat("recalls value ", index, ", which it never put aside"));
  }
  push_again(memo_[index]);
}

void PickleStack::count_items(std::size_t more) {
  items_ += more;
  if (items_ > kMostItems) {
    input_.fail_unsupported(concat("has more than ", kMostItems, " items"));
  }
}

Pickle PickleStack::finish() && {
  if (!marks_.empty() || stack_.size() != 1) {
    input_.fail_corrupt("does not end with one value");
  }
  return {std::move(values_), stack_.front(), input_.position()};
}

}  // namespace llamlx
