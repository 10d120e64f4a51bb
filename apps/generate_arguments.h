#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "generate/generator.h"
#include "model_options.h"

namespace llamlx {

/// The command line of `llamlx generate`.
struct GenerateArguments {
  ModelArguments model;
  std::string prompt = "In the beginning the Universe was created.";
  std::string prompt_ids;
  std::string few_shot;  ///< a file; empty: continue the prompt
  std::vector<std::string> questions;
  GenerateOptions options;
  int write_every = 1;
  std::string compat;  ///< "seed": the screens of llama.py
  bool no_wait = false;
  bool json = false;
  std::string stats;

  /// As LoadOptions: as many as generate() makes room for before the first.
  std::int64_t expected_tokens() const {
    return std::min(options.max_tokens, kRowsAhead);
  }
};

}  // namespace llamlx
