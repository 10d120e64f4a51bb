#pragma once

#include <string>

#include "tokenizer/component.h"

namespace llamlx {

/// Where Metaspace puts its mark before a text that has none.
enum class PrependScheme { always, first, never };

/// SentencePiece's way with spaces: each becomes a visible mark, by default
/// U+2581. Both the pre-tokenizer and the decoder are configured so.
struct MetaspaceSettings {
  std::string replacement;  ///< one character
  PrependScheme scheme = PrependScheme::always;
  bool split = true;  ///< before each mark
};

/// Reads the settings, also in the older form with "add_prefix_space".
/// Errors: Error naming the component.
MetaspaceSettings read_metaspace(const Component& component);

}  // namespace llamlx
