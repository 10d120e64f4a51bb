#include "formats/pickle_reader.h"

#include <cstdint>
#include <utility>

#include "base/concat.h"
#include "formats/pickle_input.h"
#include "formats/pickle_stack.h"

namespace llamlx {
namespace {

constexpr int kNewestProtocol = 5;

using Items = PickleStack::Items;

bool is_sequence(const PickleValue& value) {
  return value.kind == PickleKind::tuple || value.kind == PickleKind::list;
}

/// The machine that pickles are programs for.
class Machine {
 public:
  Machine(std::string_view bytes, const std::string& subject,
          std::span<const PickleGlobal> allowed)
      : input_(bytes, subject), allowed_(allowed), stack_(input_) {}

  Pickle run() {
    for (;;) {
      const auto op = static_cast<PickleOp>(input_.number<std::uint8_t>());
      if (op == PickleOp::stop) break;
      if (auto literal = read_literal(op, input_)) {
        stack_.push(std::move(*literal));
      } else if (!run_structure(op) && !run_stack(op) && !run_memo(op) &&
                 !run_container(op) && !run_name(op)) {
        refuse(op);
      }
    }
    return std::move(stack_).finish();
  }

 private:
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
        stack_.mark();
        return true;
      case PickleOp::pop:
        stack_.drop();
        return true;
      case PickleOp::pop_mark:
        stack_.take_to_mark();
        return true;
      case PickleOp::dup:
        stack_.duplicate();
        return true;
      default:
        return false;
    }
  }

  bool run_memo(PickleOp op) {
    switch (op) {
      case PickleOp::put:
        stack_.remember(static_cast<std::uint64_t>(input_.line_number()));
        return true;
      case PickleOp::binput:
        stack_.remember(input_.number<std::uint8_t>());
        return true;
      case PickleOp::long_binput:
        stack_.remember(input_.number<std::uint32_t>());
        return true;
      case PickleOp::memoize:
        stack_.memoize();
        return true;
      case PickleOp::get:
        stack_.recall(static_cast<std::uint64_t>(input_.line_number()));
        return true;
      case PickleOp::binget:
        stack_.recall(input_.number<std::uint8_t>());
        return true;
      case PickleOp::long_binget:
        stack_.recall(input_.number<std::uint32_t>());
        return true;
      default:
        return false;
    }
  }

  bool run_container(PickleOp op) {
    switch (op) {
      case PickleOp::empty_tuple:
        return make(PickleKind::tuple, {});
      case PickleOp::tuple1:
        return make(PickleKind::tuple, stack_.take_last(1));
      case PickleOp::tuple2:
        return make(PickleKind::tuple, stack_.take_last(2));
      case PickleOp::tuple3:
        return make(PickleKind::tuple, stack_.take_last(3));
      case PickleOp::tuple:
        return make(PickleKind::tuple, stack_.take_to_mark());
      case PickleOp::empty_list:
        return make(PickleKind::list, {});
      case PickleOp::list:
        return make(PickleKind::list, stack_.take_to_mark());
      case PickleOp::empty_set:
        return make(PickleKind::set, {});
      case PickleOp::frozenset:
        return make(PickleKind::set, stack_.take_to_mark());
      case PickleOp::empty_dict:
        return make(PickleKind::dict, {});
      case PickleOp::dict:
        return make(PickleKind::dict, pairs(stack_.take_to_mark()));
      case PickleOp::append:
        return extend(PickleKind::list, stack_.take_last(1));
      case PickleOp::appends:
        return extend(PickleKind::list, stack_.take_to_mark());
      case PickleOp::additems:
        return extend(PickleKind::set, stack_.take_to_mark());
      case PickleOp::setitem:
        return extend(PickleKind::dict, stack_.take_last(2));
      case PickleOp::setitems:
        return extend(PickleKind::dict, pairs(stack_.take_to_mark()));
      default:
        return false;
    }
  }

  bool make(PickleKind kind, Items items) {
    stack_.push({.kind = kind, .items = std::move(items)});
    return true;
  }

  bool extend(PickleKind kind, const Items& items) {
    auto* container = stack_.top();
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
        const auto names = stack_.take_last(2);
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
        const auto operands = stack_.take_last(2);
        call(*operands[0], *operands[1]);
        return true;
      }
      case PickleOp::newobj_ex: {
        const auto operands = stack_.take_last(3);
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
        return make(PickleKind::persistent, stack_.take_last(1));
      default:
        return false;
    }
  }

  void push_global(std::string_view module, std::string_view name) {
    for (const auto& global : allowed_) {
      if (global.module == module && global.name == name) {
        stack_.push({.kind = PickleKind::global, .global = &global});
        return;
      }
    }
    refuse_name(module, name);
  }

  [[noreturn]] void refuse_name(std::string_view module,
                                std::string_view name) const {
    input_.fail_unsupported(concat("names ", module, ".", name,
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
      stack_.push({.kind = PickleKind::call,
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
    stack_.count_items(2 * args.items[0]->items.size());
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
    const auto& state = *stack_.pop();
    const auto& object = *stack_.top();
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
        const auto operands = stack_.take_to_mark();
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
  PickleStack stack_;
};

}  // namespace

Pickle read_pickle(std::string_view bytes, const std::string& subject,
                   std::span<const PickleGlobal> allowed) {
  return Machine(bytes, subject, allowed).run();
}

}  // namespace llamlx
