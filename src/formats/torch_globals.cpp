#include "formats/torch_globals.h"

#include <vector>

#include "formats/torch_dtype.h"

namespace llamlx {
namespace {

std::vector<PickleGlobal> make_globals() {
  using enum PickleUse;
  std::vector<PickleGlobal> globals = {
      {"collections", "OrderedDict", mapping},
      {"torch._utils", "_rebuild_tensor", call},
      {"torch._utils", "_rebuild_tensor_v2", call},
      {"torch._utils", "_rebuild_tensor_v3", call},
      {"torch._utils", "_rebuild_parameter", call},
      {"torch._utils", "_rebuild_parameter_with_state", call},
      {"torch._tensor", "_rebuild_from_type_v2", call},
      {"torch", "Tensor", value},
      {"torch.nn.parameter", "Parameter", value},
      {"torch", "Size", call},
      {"torch", "device", call},
      {"torch.serialization", "_get_layout", call},
      {"torch.storage", "UntypedStorage", value},
      {"torch", "UntypedStorage", value},
      // Plain values; Python 2's name for builtins is what protocol 2 writes.
      {"builtins", "set", call},
      {"__builtin__", "set", call},
      {"builtins", "frozenset", call},
      {"__builtin__", "frozenset", call},
      {"builtins", "bytearray", call},
      {"__builtin__", "bytearray", call},
      {"builtins", "complex", call},
      {"__builtin__", "complex", call},
      {"_codecs", "encode", call},
  };
  for (const auto& dtype : torch_dtypes()) {
    if (dtype.storage == "UntypedStorage") continue;  // of its own module
    globals.push_back({"torch", dtype.name, value});
    if (!dtype.storage.empty()) {
      globals.push_back({"torch", dtype.storage, value});
    }
  }
  return globals;
}

}  // namespace

std::span<const PickleGlobal> torch_globals() {
  static const auto globals = make_globals();
  return globals;
}

bool is_call_of(const PickleValue& value, std::string_view module,
                std::string_view name) {
  return value.kind == PickleKind::call && value.global->module == module &&
         value.global->name == name;
}

}  // namespace llamlx
