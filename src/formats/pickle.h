#pragma once

#include <cstddef>
#include <cstdint>
#include <deque>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llamlx {

/// What a value in a pickle is.
enum class PickleKind : std::uint8_t {
  none,
  boolean,
  integer,
  big_integer,  ///< one that no int64 holds
  real,
  text,   ///< str; and Python 2's str, which pickles do not tell from bytes
  bytes,  ///< bytes and bytearray
  tuple,
  list,
  dict,
  set,
  global,     ///< a name of the allow-list, by itself
  call,       ///< a name of the allow-list and the arguments it was given
  persistent  ///< what the pickle's reader keeps elsewhere, by its id
};

/// What may be done with a name that a pickle imports.
enum class PickleUse : std::uint8_t {
  value,    ///< it stands for itself; calling it is refused
  call,     ///< calling it is written down as a PickleKind::call
  mapping,  ///< calling it makes a dict
};

/// One row of an allow-list.
struct PickleGlobal {
  std::string_view module;
  std::string_view name;
  PickleUse use;
};

/// One value. Only the fields its kind names mean something.
struct PickleValue {
  PickleKind kind = PickleKind::none;
  std::int64_t integer = 0;  ///< integer; boolean: 0 or 1
  double real = 0;           ///< real
  /// text, bytes; big_integer: two's complement, little end first.
  std::string_view text = {};
  const PickleGlobal* global = nullptr;  ///< global, call
  /// tuple, list, set; dict: key, value, key, value, ...; call: the tuple of
  /// its arguments; persistent: the id.
  std::vector<const PickleValue*> items = {};
};

/// Every value of a pickle, owned side by side: however deep they hang in one
/// another, and even in themselves, no walk over them is needed to let them go.
/// Texts stand in the pickle's bytes, which must live longer.
class Pickle {
 public:
  Pickle(std::deque<PickleValue> values, const PickleValue* root,
         std::size_t size)
      : values_(std::move(values)), root_(root), size_(size) {}
  Pickle(const Pickle&) = delete;
  Pickle& operator=(const Pickle&) = delete;
  Pickle(Pickle&&) = default;
  Pickle& operator=(Pickle&&) = default;
  ~Pickle() = default;

  const PickleValue& root() const { return *root_; }
  const std::deque<PickleValue>& values() const { return values_; }

  /// How many bytes it took, its STOP among them.
  std::size_t size() const { return size_; }

 private:
  std::deque<PickleValue> values_;
  const PickleValue* root_;
  std::size_t size_;
};

/// The arguments of a call.
inline std::span<const PickleValue* const> arguments(const PickleValue& call) {
  return call.items.front()->items;
}

/// The value as an error message speaks of it: "torch.float16", "a list".
std::string describe(const PickleValue& value);

}  // namespace llamlx
