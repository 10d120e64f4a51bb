#pragma once

#include <span>
#include <string_view>

#include "formats/pickle.h"

namespace llamlx {

/// The names a torch file of plain tensors may import: the functions its
/// tensors are rebuilt by, the classes of its storages, its types, and a few
/// classes of plain values that lie beside tensors. None is ever called.
///
/// Source   torch/_weights_only_unpickler.py, whose list is longer
std::span<const PickleGlobal> torch_globals();

/// True when `value` is the call of torch's function or class `name` in
/// `module`.
bool is_call_of(const PickleValue& value, std::string_view module,
                std::string_view name);

}  // namespace llamlx
