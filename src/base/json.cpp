#include "base/json.h"

#include <cstdint>
#include <limits>
#include <type_traits>

#include "base/concat.h"
#include "base/error.h"
#include "base/files.h"
#include "base/mapped_file.h"

namespace llamlx {
namespace {

template <typename T>
constexpr const char* kExpected = "a whole number";
template <>
constexpr const char* kExpected<bool> = "true or false";
template <>
constexpr const char* kExpected<double> = "a number";
template <>
constexpr const char* kExpected<std::string> = "a string";

template <typename T>
std::optional<T> whole_number(const Json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<std::uint64_t>();
    if (number > static_cast<std::uint64_t>(std::numeric_limits<T>::max())) {
      return {};
    }
    return static_cast<T>(number);
  }
  if (!value.is_number_integer()) return {};
  const auto number = value.get<std::int64_t>();
  if (number < std::numeric_limits<T>::min()) return {};
  return static_cast<T>(number);
}

template <typename T>
std::optional<T> convert_value(const Json& value) {
  if constexpr (std::is_same_v<T, bool>) {
    if (value.is_boolean()) return value.get<bool>();
  } else if constexpr (std::is_same_v<T, double>) {
    if (value.is_number()) return value.get<double>();
  } else if constexpr (std::is_same_v<T, std::string>) {
    if (value.is_string()) return value.get<std::string>();
  } else {
    return whole_number<T>(value);
  }
  return {};
}

}  // namespace

Json parse_json_object(std::string_view text, std::string_view subject) {
  Json value;
  try {
    value = Json::parse(text);
  } catch (const Json::parse_error& error) {
    fail(ErrorCode::corrupt_file, subject,
         concat("is not valid JSON near byte ", error.byte),
         "restore or download the file again");
  }
  if (!value.is_object()) {
    fail(ErrorCode::corrupt_file, subject,
         concat("expected a JSON object, got ", value.type_name()),
         "restore or download the file again");
  }
  return value;
}

Json read_json_file(const std::filesystem::path& path) {
  const MappedFile file(path);
  return parse_json_object(file.text(), path.string());
}

void write_json_file(const std::filesystem::path& path, const Json& value) {
  const auto replace = Json::error_handler_t::replace;
  write_file(path, value.dump(4, ' ', false, replace) + "\n");
}

template <typename T>
std::optional<T> json_get(const Json& object, const std::string& key,
                          std::string_view subject) {
  const auto found = object.find(key);
  if (found == object.end() || found->is_null()) return {};
  if (auto value = convert_value<T>(*found)) return value;
  const auto replace = Json::error_handler_t::replace;
  fail(ErrorCode::corrupt_file, subject,
       concat("\"", key, "\" should be ", kExpected<T>, ", got ",
              found->dump(-1, ' ', false, replace).substr(0, 60)),
       "correct the file or download it again");
}

template std::optional<bool> json_get(const Json&, const std::string&,
                                      std::string_view);
template std::optional<int> json_get(const Json&, const std::string&,
                                     std::string_view);
template std::optional<std::int64_t> json_get(const Json&, const std::string&,
                                              std::string_view);
template std::optional<double> json_get(const Json&, const std::string&,
                                        std::string_view);
template std::optional<std::string> json_get(const Json&, const std::string&,
                                             std::string_view);

}  // namespace llamlx
