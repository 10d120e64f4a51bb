#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "formats/pickle.h"

namespace llamlx {

/// The opcodes of pickles, by the names Python's pickletools has for them.
enum class PickleOp : std::uint8_t {
  mark = '(',
  stop = '.',
  pop = '0',
  pop_mark = '1',
  dup = '2',
  float_line = 'F',
  int_line = 'I',
  binint = 'J',
  binint1 = 'K',
  long_line = 'L',
  binint2 = 'M',
  none = 'N',
  persid = 'P',
  binpersid = 'Q',
  reduce = 'R',
  string_line = 'S',
  binstring = 'T',
  short_binstring = 'U',
  unicode_line = 'V',
  binunicode = 'X',
  append = 'a',
  build = 'b',
  global = 'c',
  dict = 'd',
  empty_dict = '}',
  appends = 'e',
  get = 'g',
  binget = 'h',
  inst = 'i',
  long_binget = 'j',
  list = 'l',
  empty_list = ']',
  obj = 'o',
  put = 'p',
  binput = 'q',
  long_binput = 'r',
  setitem = 's',
  tuple = 't',
  empty_tuple = ')',
  setitems = 'u',
  binfloat = 'G',
  binbytes = 'B',
  short_binbytes = 'C',
  proto = 0x80,
  newobj = 0x81,
  ext1 = 0x82,
  ext2 = 0x83,
  ext4 = 0x84,
  tuple1 = 0x85,
  tuple2 = 0x86,
  tuple3 = 0x87,
  newtrue = 0x88,
  newfalse = 0x89,
  long1 = 0x8a,
  long4 = 0x8b,
  short_binunicode = 0x8c,
  binunicode8 = 0x8d,
  binbytes8 = 0x8e,
  empty_set = 0x8f,
  additems = 0x90,
  frozenset = 0x91,
  newobj_ex = 0x92,
  stack_global = 0x93,
  memoize = 0x94,
  frame = 0x95,
  bytearray8 = 0x96,
  next_buffer = 0x97,
  readonly_buffer = 0x98,
};

/// A pickle's bytes, read from front to back and never beyond their end. Errors
/// name `subject` and the place.
class PickleInput {
 public:
  PickleInput(std::string_view bytes, const std::string& subject);

  std::size_t position() const { return position_; }
  std::size_t remaining() const { return bytes_.size() - position_; }

  std::string_view take(std::uint64_t size);

  /// The bytes up to the next line break, which is skipped.
  std::string_view line();

  /// A line that is a whole number.
  std::int64_t line_number();

  /// A number of T, little end first.
  template <typename T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }

  /// "its pickle <cause>": for bytes that contradict the format.
  [[noreturn]] void fail_corrupt(std::string_view cause) const;

  /// "its pickle <cause>": for what a file of tensors has no use for.
  [[noreturn]] void fail_unsupported(std::string_view cause) const;

 private:
  std::string_view bytes_;
  const std::string* subject_;  // not a reference: it is assigned
  bool shortened_ = false;
  std::size_t position_ = 0;
};

/// The value that `op` makes of its operand alone; empty for an opcode that
/// works on the stack or the memo.
std::optional<PickleValue> read_literal(PickleOp op, PickleInput& input);

}  // namespace llamlx
