#include "json_output.h"

#include "terminal.h"

namespace llamlx {

void print_json(const Json& value) {
  constexpr int kIndent = 2;
  print(value.dump(kIndent, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace llamlx
