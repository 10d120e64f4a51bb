#pragma once

#include <string>

#include <CLI/CLI.hpp>

// The subcommands of llamlx, one file each. An add_ function adds its command's
// options to the program's; the command runs when the command line is parsed.
//
// A command throws what went wrong (main() turns it into one line and the exit
// status) and ends with another status than 0 by throwing CLI::RuntimeError.
namespace llamlx {

void add_bench(CLI::App& app);
void add_compare(CLI::App& app);
void add_convert(CLI::App& app);
void add_doctor(CLI::App& app);
void add_generate(CLI::App& app);
void add_info(CLI::App& app);
void add_perplexity(CLI::App& app);

/// Adds a subcommand with what all of them have: --help, --version, and a
/// footer of examples.
CLI::App* add_command(CLI::App& app, const std::string& name,
                      const std::string& description,
                      const std::string& examples);

/// Refuses numbers below `minimum` in words people write.
CLI::Validator at_least(double minimum);

/// Refuses an empty text, which an unset variable of a script leaves.
CLI::Validator not_empty();

/// Refuses what is no whole number from 0 to 2^64 - 1.
CLI::Validator whole_number();

/// "llamlx 0.1.0 (MLX 0.32.4)".
std::string version_line();

}  // namespace llamlx
