#include "json_output.h"

#include "terminal.h"

namespace llamlx {

void print_json(const Json& value) {
  constexpr int kIndent = 2;
  print(value.dump(kIndent, ' ', false, Json::error_handler_t::replace) + "\n");
}

void print_json_line(const Json& value) {
  print(value.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace llamlx
