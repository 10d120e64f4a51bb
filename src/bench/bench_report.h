#pragma once

#include <string>
#include <vector>

#include "base/json.h"
#include "bench/bench.h"

namespace llamlx {

/// For programs: one document with "machine", and, where a model was measured,
/// "model", "results" and "activity". Keys are documented by `llamlx bench
/// --help`.
Json to_json(const BenchReport& report);

/// A table, its first row the titles.
using TextTable = std::vector<std::vector<std::string>>;

/// For people: a row a test, in few columns.
TextTable results_table(const BenchReport& report);

/// A row a test with every figure as a plain number, for spreadsheets.
TextTable results_numbers(const BenchReport& report);

/// For people: how fast each working set is read, and what the units compute.
TextTable bandwidth_table(const MachineLimits& machine);
TextTable peaks_table(const MachineLimits& machine);

/// "CPU, 2 cores, avx512_bf16", after the GPU where it computes.
std::string machine_line(const MachineLimits& machine);

/// "SmolLM2-4bit", the last part of the model's path.
std::string model_name(const BenchReport& report);

/// "SmolLM2-4bit: llama, 135 M parameters, affine 4-bit, group 64; bfloat16 on
/// the cpu, mlx's kernels".
std::string model_line(const BenchReport& report);

/// RFC 4180: cells with commas, quotes or line breaks are quoted.
std::string to_csv(const TextTable& table);

/// A table as GitHub shows it, the first column to the left.
std::string to_markdown(const TextTable& table);

}  // namespace llamlx
