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
  int threads = 0;
  int kv_bits = 0;
};

void add_model_options(CLI::App& command, ModelArguments& arguments);

/// Those of them that say in which types to compute and to remember, and where.
void add_compute_options(CLI::App& command, ModelArguments& arguments);

/// The one that says by how many threads.
void add_threads_option(CLI::App& command, ModelArguments& arguments);

/// Loads the model, telling on standard error what is loaded, how it computes
/// and why; silent (but for notices) when `quiet`. `expected_tokens` as in
/// LoadOptions.
Model load_model(const ModelArguments& arguments, bool quiet,
                 std::int64_t expected_tokens = 0);

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
