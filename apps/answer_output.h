#pragma once

#include <string>

#include "base/json.h"
#include "llamlx/llamlx.h"

namespace llamlx {

/// Prints text as it comes, every `write_every` tokens.
class TextPrinter {
 public:
  explicit TextPrinter(int write_every) : write_every_(write_every) {}

  void add(const Delta& delta);

  /// Prints the rest and a line break.
  void finish();

 private:
  void flush();

  int write_every_;
  int tokens_ = 0;
  std::string held_;
};

/// What `generate --json` prints of one generation.
Json to_json(const Result& result, const ModelInfo& info);

/// Tells on standard error how long a generation took and why it ended.
void print_summary(const Result& result);

}  // namespace llamlx
