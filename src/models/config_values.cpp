#include "models/config_values.h"

#include <cmath>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

int check_size(int value, const char* key, std::string_view subject,
               int largest) {
  if (value >= 1 && value <= largest) return value;
  fail_value(subject, concat('"', key, "\" is ", value));
}

[[noreturn]] void fail_missing(std::string_view subject, const char* key) {
  fail_value(subject, concat('"', key, "\" is missing"));
}

}  // namespace

void fail_value(std::string_view subject, std::string_view cause) {
  fail(ErrorCode::corrupt_file, subject, cause,
       "correct the file or download it again");
}

void fail_unsupported(std::string_view subject, std::string_view cause,
                      std::string_view remedy) {
  fail(ErrorCode::unsupported, subject, cause, remedy);
}

int required_size(const Json& config, const char* key, std::string_view subject,
                  int largest) {
  const auto value = json_get<int>(config, key, subject);
  if (!value) fail_missing(subject, key);
  return check_size(*value, key, subject, largest);
}

int optional_size(const Json& config, const char* key, std::string_view subject,
                  int otherwise) {
  const auto value = json_get<int>(config, key, subject);
  return value ? check_size(*value, key, subject, kLargestConfigSize)
               : otherwise;
}

float positive_number(const Json& config, const char* key,
                      std::string_view subject, double otherwise) {
  const auto value = json_get<double>(config, key, subject).value_or(otherwise);
  const auto narrow = static_cast<float>(value);
  if (narrow > 0 && std::isfinite(narrow)) return narrow;
  fail_value(subject, concat('"', key, "\" is ", value));
}

float positive_number(const Json& config, const char* key,
                      std::string_view subject) {
  if (!json_get<double>(config, key, subject)) fail_missing(subject, key);
  return positive_number(config, key, subject, 1);
}

}  // namespace llamlx
