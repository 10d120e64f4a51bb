#pragma once

#include "base/json.h"

namespace llamlx {

/// Prints `value` on standard output as one JSON document, as every command
/// does with --json: keys sorted, indented by two, a line break at the end.
/// Bytes that are not UTF-8 become U+FFFD. Errors: those of print().
void print_json(const Json& value);

/// The same in one line, for documents that follow one another.
void print_json_line(const Json& value);

}  // namespace llamlx
