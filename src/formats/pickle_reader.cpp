#include "formats/pickle_reader.h"

#include <cstdint>
#include <utility>

#include "base/concat.h"
#include "formats/pickle_input.h"

namespace llamlx {
namespace {

constexpr int kNewestProtocol = 5;
constexpr std::size_t kMostValues = 2'000'000;
constexpr std::size_t kMostItems = 8'000'000;
constexpr std::size_t kDeepestStack = 4'000'000;
constexpr std::size_t kMostMarks = 10'000;

using Items = std::vector<const PickleValue*>;

bool is_sequence(const PickleValue& value) {
  return value.kind == PickleKind::tuple || value.kind == PickleKind::list;
}

std::string full_name(std::string_view module, std::string_view name) {
  return concat(module, ".", name);
}

/// The machine that pickles are programs for.
class Machine {
 public:
  Machine(std::string_view bytes, const std::string& subject,
          std::span<const PickleGlobal> allowed)
      : input_(bytes, subject), allowed_(allowed) {}

  Pickle run() {
    for (;;) {
      const auto op = static_cast<PickleOp>(input_.number<std::uint8_t>());
      if (op == PickleOp::stop) break;
      if (auto literal = read_literal(op, input_)) {
        push(std::move(*literal));
      } else if (!run_structure(op) && !run_stack(op) && !run_memo(op) &&
                 !run_container(op) && !run_name(op)) {
        refuse(op);
      }
    }
    if (!marks_.empty() || stack_.size() != 1) {
      input_.fail_corrupt("does not end with one value");
    }
    return {std::move(values_), stack_.front(), input_.position()};
  }

 private:
  // The stack.

  PickleValue* push(PickleValue value) {
    if (values_.size() >= kMostValues) {
      input_.fail_unsupported(concat("has more than ", kMostValues, " values"));
    }
    values_.push_back(std::move(value));
    push_again(&values_.back());
    return &values_.back();
  }

  void push_again(PickleValue* value) {
    if (stack_.size() >= kDeepestStack) {
      input_.fail_unsupported("needs too deep a stack");
    }
    stack_.push_back(value);
  }

  std::size_t bottom() const { return marks_.empty() ? 0 : marks_.back(); }

  PickleValue* top() {
    if (stack_.size() <= bottom()) input_.fail_corrupt("takes from no value");
    return stack_.back();
  }

  PickleValue* pop() {
    auto* value = top();
    stack_.pop_back();
    return value;
  }

  /// Takes the values above `first` off the stack.
  Items take_from(std::size_t first) {
    const auto begin = stack_.begin() + static_cast<std::ptrdiff_t>(first);
    Items items(begin, stack_.end());
    stack_.erase(begin, stack_.end());
    count_items(items.size());
    return items;
  }

  Items take_last(std::size_t count) {
    if (stack_.size() - bottom() < count) {
      input_.fail_corrupt("takes from no value");
    }
    return take_from(stack_.size() - count);
  }

  Items take_to_mark() {
    if (marks_.empty()) input_.fail_corrupt("has no mark where it needs one");
    auto items = take_from(marks_.back());
    marks_.pop_back();
    return items;
  }

  void count_items(std::size_t more) {
    items_ += more;
    if (items_ > kMostItems) {
      input_.fail_unsupported(concat("has more than ", kMostItems, " items"));
    }
  }

  // Opcodes, by what they work on. Each function answers whether the opcode
  // was one of its own.

  bool run_structure(PickleOp op) {
    switch (op) {
      case PickleOp::proto: {
        const int protocol = input_.number<std::uint8_t>();
        if (protocol > kNewestProtocol) {
          input_.fail_unsupported(concat("has protocol ", protocol));
        }
        return true;
      }
      case PickleOp::frame:
        if (input_.number<std::uint64_t>() > input_.remaining()) {
          input_.fail_corrupt("is cut short in a frame");
        }
        return true;
      default:
        return false;
    }
  }

  bool run_stack(PickleOp op) {
    switch (op) {
      case PickleOp::mark:
        if (marks_.size() >= kMostMarks) {
          input_.fail_unsupported(
              concat("nests more than ", kMostMarks, " values in one another"));
        }
        marks_.push_back(stack_.size());
        return true;
      case PickleOp::pop:
        if (!marks_.empty() && stack_.size() == marks_.back()) {
          marks_.pop_back();
        } else {
          pop();
        }
        return true;
      case PickleOp::pop_mark:
        take_to_mark();
        return true;
      case PickleOp::dup:
        push_again(top());
        return true;
      default:
        return false;
    }
  }

  bool run_memo(PickleOp op) {
    switch (op) {
      case PickleOp::put:
        remember(static_cast<std::uint64_t>(input_.line_number()));
        return true;
      case PickleOp::binput:
        remember(input_.number<std::uint8_t>());
        return true;
      case PickleOp::long_binput:
        remember(input_.number<std::uint32_t>());
        return true;
      case PickleOp::memoize:
        remember(remembered_);
        return true;
      case PickleOp::get:
        recall(static_cast<std::uint64_t>(input_.line_number()));
        return true;
      case PickleOp::binget:
        recall(input_.number<std::uint8_t>());
        return true;
      case PickleOp::long_binget:
        recall(input_.number<std::uint32_t>());
        return true;
      default:
        return false;
    }
  }

  void remember(std::uint64_t index) {
    // Python numbers them one after another, so none is as large.
    if (index >= kMostValues) {
      input_.fail_unsupported(concat("remembers a value by number ", index));
    }
    if (index >= memo_.size()) memo_.resize(index + 1, nullptr);
    if (memo_[index] == nullptr) ++remembered_;
    memo_[index] = top();
  }

  void recall(std::uint64_t index) {
    if (index >= memo_.size() || memo_[index] == nullptr) {
      input_.fail_corrupt(
          concat("recalls value ", index, ", which it never ", "put aside"));
    }
    push_again(memo_[index]);
  }

  bool run_container(PickleOp op) {
    switch (op) {
      case PickleOp::empty_tuple:
        return make(PickleKind::tuple, {});
      case PickleOp::tuple1:
        return make(PickleKind::tuple, take_last(1));
      case PickleOp::tuple2:
        return make(PickleKind::tuple, take_last(2));
      case PickleOp::tuple3:
        return make(PickleKind::tuple, take_last(3));
      case PickleOp::tuple:
        return make(PickleKind::tuple, take_to_mark());
      case PickleOp::empty_list:
        return make(PickleKind::list, {});
      case PickleOp::list:
        return make(PickleKind::list, take_to_mark());
      case PickleOp::empty_set:
        return make(PickleKind::set, {});
      case PickleOp::frozenset:
        return make(PickleKind::set, take_to_mark());
      case PickleOp::empty_dict:
        return make(PickleKind::dict, {});
      case PickleOp::dict:
        return make(PickleKind::dict, pairs(take_to_mark()));
      case PickleOp::append:
        return extend(PickleKind::list, take_last(1));
      case PickleOp::appends:
        return extend(PickleKind::list, take_to_mark());
      case PickleOp::additems:
        return extend(PickleKind::set, take_to_mark());
      case PickleOp::setitem:
        return extend(PickleKind::dict, take_last(2));
      case PickleOp::setitems:
        return extend(PickleKind::dict, pairs(take_to_mark()));
      default:
        return false;
    }
  }

  bool make(PickleKind kind, Items items) {
    push({.kind = kind, .items = std::move(items)});
    return true;
  }

  bool extend(PickleKind kind, const Items& items) {
    auto* container = top();
    if (container->kind != kind) {
      input_.fail_corrupt(concat("adds items to ", describe(*container)));
    }
    container->items.insert(container->items.end(), items.begin(), items.end());
    return true;
  }

  Items pairs(Items items) const {
    if (items.size() % 2 != 0) input_.fail_corrupt("has a key without a value");
    return items;
  }

  // Names, and what is done with them.

  bool run_name(PickleOp op) {
    switch (op) {
      case PickleOp::global: {
        const auto module = input_.line();
        push_global(module, input_.line());
        return true;
      }
      case PickleOp::stack_global: {
        const auto names = take_last(2);
        for (const auto* name : names) {
          if (name->kind == PickleKind::text) continue;
          input_.fail_unsupported(
              concat("imports ", describe(*name), " where a name should be"));
        }
        push_global(names[0]->text, names[1]->text);
        return true;
      }
      case PickleOp::reduce:
      case PickleOp::newobj: {
        const auto operands = take_last(2);
        call(*operands[0], *operands[1]);
        return true;
      }
      case PickleOp::newobj_ex: {
        const auto operands = take_last(3);
        if (operands[2]->kind != PickleKind::dict ||
            !operands[2]->items.empty()) {
          refuse_call(*operands[0], "with named arguments");
        }
        call(*operands[0], *operands[1]);
        return true;
      }
      case PickleOp::build:
        build();
        return true;
      case PickleOp::binpersid:
        return make(PickleKind::persistent, take_last(1));
      default:
        return false;
    }
  }

  void push_global(std::string_view module, std::string_view name) {
    for (const auto& global : allowed_) {
      if (global.module == module && global.name == name) {
        push({.kind = PickleKind::global, .global = &global});
        return;
      }
    }
    refuse_name(module, name);
  }

  [[noreturn]] void refuse_name(std::string_view module,
                                std::string_view name) const {
    input_.fail_unsupported(concat("names ", full_name(module, name),
                                   ", which plain tensors have no need of"));
  }

  [[noreturn]] void refuse_call(const PickleValue& callee,
                                std::string_view how = {}) const {
    input_.fail_unsupported(
        concat("calls ", describe(callee), how.empty() ? "" : " ", how));
  }

  void call(const PickleValue& callee, const PickleValue& args) {
    if (callee.kind != PickleKind::global ||
        callee.global->use == PickleUse::value) {
      refuse_call(callee);
    }
    if (args.kind != PickleKind::tuple) {
      input_.fail_corrupt(concat("calls ", describe(callee), " with ",
                                 describe(args), " for its arguments"));
    }
    if (callee.global->use == PickleUse::mapping) {
      make(PickleKind::dict, mapping_items(callee, args));
    } else {
      push({.kind = PickleKind::call,
            .global = callee.global,
            .items = {&args}});
    }
  }

  /// What OrderedDict and its like are called with: nothing, or a sequence of
  /// pairs, as Python 2 wrote them.
  Items mapping_items(const PickleValue& callee, const PickleValue& args) {
    Items items;
    if (args.items.empty()) return items;
    if (args.items.size() > 1 || !is_sequence(*args.items[0])) {
      refuse_call(callee, "with something other than pairs");
    }
    count_items(2 * args.items[0]->items.size());
    for (const auto* pair : args.items[0]->items) {
      if (!is_sequence(*pair) || pair->items.size() != 2) {
        refuse_call(callee, "with something other than pairs");
      }
      items.insert(items.end(), pair->items.begin(), pair->items.end());
    }
    return items;
  }

  /// BUILD gives an object its attributes. A state dict has one, "_metadata",
  /// which says nothing of its tensors; it is dropped. No other kind of object
  /// is known here.
  void build() {
    const auto& state = *pop();
    const auto& object = *top();
    if (object.kind != PickleKind::dict || state.kind != PickleKind::dict) {
      input_.fail_unsupported(concat("sets the state of ", describe(object),
                                     " to ", describe(state)));
    }
  }

  // What is refused by its opcode.

  [[noreturn]] void refuse(PickleOp op) {
    switch (op) {
      case PickleOp::inst: {
        const auto module = input_.line();
        refuse_name(module, input_.line());
      }
      case PickleOp::obj: {
        const auto operands = take_to_mark();
        if (operands.empty()) input_.fail_corrupt("makes an object of nothing");
        refuse_call(*operands[0]);
      }
      case PickleOp::ext1:
        refuse_extension(input_.number<std::uint8_t>());
      case PickleOp::ext2:
        refuse_extension(input_.number<std::uint16_t>());
      case PickleOp::ext4:
        refuse_extension(input_.number<std::uint32_t>());
      case PickleOp::persid:
        input_.fail_unsupported(
            concat("keeps \"", input_.line(), "\" elsewhere (PERSID)"));
      case PickleOp::next_buffer:
      case PickleOp::readonly_buffer:
        input_.fail_unsupported("keeps bytes in a buffer elsewhere");
      case PickleOp::float_line:
        input_.fail_unsupported("has a number as only protocol 0 writes it");
      default:
        input_.fail_corrupt(
            concat("has the unknown opcode ", static_cast<unsigned>(op)));
    }
  }

  [[noreturn]] void refuse_extension(std::uint32_t code) const {
    input_.fail_unsupported(concat("names extension ", code,
                                   ", which plain tensors have no need of"));
  }

  PickleInput input_;
  std::span<const PickleGlobal> allowed_;
  std::deque<PickleValue> values_;
  std::vector<PickleValue*> stack_;
  std::vector<std::size_t> marks_;  // heights of the stack
  std::vector<PickleValue*> memo_;
  std::size_t remembered_ = 0;  // of memo_
  std::size_t items_ = 0;
};

}  // namespace

Pickle read_pickle(std::string_view bytes, const std::string& subject,
                   std::span<const PickleGlobal> allowed) {
  return Machine(bytes, subject, allowed).run();
}

std::string describe(const PickleValue& value) {
  switch (value.kind) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return "a boolean";
    case PickleKind::integer:
    case PickleKind::big_integer:
      return "an integer";
    case PickleKind::real:
      return "a float";
    case PickleKind::text:
      return "a string";
    case PickleKind::bytes:
      return "bytes";
    case PickleKind::tuple:
      return "a tuple";
    case PickleKind::list:
      return "a list";
    case PickleKind::dict:
      return "a dict";
    case PickleKind::set:
      return "a set";
    case PickleKind::global:
      return full_name(value.global->module, value.global->name);
    case PickleKind::call:
      return concat("what ",
                    full_name(value.global->module, value.global->name),
                    " returned");
    case PickleKind::persistent:
      return "a storage";
  }
  return {};
}

}  // namespace llamlx
