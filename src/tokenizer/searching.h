#pragma once

#include <string>

#include "base/concat.h"
#include "base/error.h"
#include "tokenizer/oniguruma_pattern.h"

namespace llamlx {

/// Runs `action`, which searches texts for the patterns of `file`. Errors:
/// Error (unsupported) naming `file` when one of them explodes.
template <typename Action>
auto searching(const std::string& file, Action action) {
  try {
    return action();
  } catch (const PatternError& error) {
    fail(ErrorCode::unsupported, file,
         concat("one of its regular expressions ", error.what()),
         "use a model with another tokenizer");
  }
}

}  // namespace llamlx
