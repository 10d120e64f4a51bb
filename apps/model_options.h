#pragma once

#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "llamlx/llamlx.h"

namespace llamlx {

/// The options of every command that runs a model.
struct ModelArguments {
  std::string model_path = "mlx_model";
  std::string dtype = {};
  std::string device = {};
};

void add_model_options(CLI::App& command, ModelArguments& arguments);

/// Those of them that say how to compute: all but the path.
void add_compute_options(CLI::App& command, ModelArguments& arguments);

/// Loads the model, telling on standard error what is loaded, how it computes
/// and why; silent (but for notices) when `quiet`.
Model load_model(const ModelArguments& arguments, bool quiet);

/// What they ask of the loader.
LoadOptions load_options(const ModelArguments& arguments);

/// Whole numbers written as "1,5,9"; `what` they are, for the error.
/// Errors: std::invalid_argument.
std::vector<std::int32_t> parse_list(const std::string& list,
                                     std::string_view what);

/// Token ids written as "1,5,9". Errors: std::invalid_argument.
std::vector<std::int32_t> parse_ids(const std::string& list);

/// The contents of a file, or of standard input for "-". Errors: Error.
std::string read_text(const std::string& path);

}  // namespace llamlx
