#pragma once

#include <string_view>

#include "base/json.h"

namespace llamlx {

/// Far above every size there is; anything larger is damage, and would overflow
/// the products of shapes.
inline constexpr int kLargestConfigSize = 1 << 24;

/// Throws Error (corrupt_file): a value of the config makes no sense.
[[noreturn]] void fail_value(std::string_view subject, std::string_view cause);

/// Throws Error (unsupported): the config asks for what no model here does.
[[noreturn]] void fail_unsupported(std::string_view subject,
                                   std::string_view cause,
                                   std::string_view remedy);

/// The size that `config` gives as `key`: 1 to `largest`.
/// Errors: Error (corrupt_file) when it is anything else, or missing.
int required_size(const Json& config, const char* key, std::string_view subject,
                  int largest = kLargestConfigSize);

/// The same, or `otherwise` when the key is absent or null.
int optional_size(const Json& config, const char* key, std::string_view subject,
                  int otherwise);

/// A finite number above zero, or `otherwise` when the key is absent or null.
/// Errors: Error (corrupt_file).
float positive_number(const Json& config, const char* key,
                      std::string_view subject, double otherwise);

/// The same for a number that must be there.
float positive_number(const Json& config, const char* key,
                      std::string_view subject);

}  // namespace llamlx
