#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"

namespace llamlx {

enum class CheckStatus { ok, warning, problem };

/// "ok", "warning" or "problem".
std::string_view to_string(CheckStatus status);

/// One thing the doctor looked at.
struct Check {
  std::string name;
  CheckStatus status = CheckStatus::ok;
  std::string finding;
  std::string remedy = {};  ///< empty when there is nothing to do
};

/// The problem that `error` tells, with its remedy.
Check problem_of(const std::string& name, const Error& error);

/// Checks everything but a model and kernels: system, processor, memory, MLX,
/// device, disk, terminal. Does not throw for what it finds.
std::vector<Check> check_machine();

/// Checks the model at `path`: that it can be opened and belongs together, that
/// it has a tokenizer, and that it fits the memory of this machine, or of the
/// GPU that it would run on. A model that cannot be opened is a problem, not an
/// exception.
std::vector<Check> check_model(const std::filesystem::path& path);

/// Whether weights and a KV cache fit the memory. `context` is the number of
/// tokens of the model's full context, 0 when unknown.
Check check_fit(std::uint64_t weight_bytes, std::uint64_t cache_token_bytes,
                int context, std::uint64_t total_memory,
                std::uint64_t available_memory);

}  // namespace llamlx
