#pragma once

#include <string>
#include <vector>

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
};

}  // namespace llamlx
