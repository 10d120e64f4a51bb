#include "formats/pickle.h"

#include "base/concat.h"

namespace llamlx {

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
      return concat(value.global->module, ".", value.global->name);
    case PickleKind::call:
      return concat("what ", value.global->module, ".", value.global->name,
                    " returned");
    case PickleKind::persistent:
      return "a storage";
  }
  return {};
}

}  // namespace llamlx
