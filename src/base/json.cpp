#include "base/json.h"

#include <cstdint>
#include <set>
#include <type_traits>
#include <utility>
#include <vector>

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
    if (std::in_range<T>(number)) return static_cast<T>(number);
  } else if (value.is_number_integer()) {
    const auto number = value.get<std::int64_t>();
    if (std::in_range<T>(number)) return static_cast<T>(number);
  }
  return {};
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

constexpr const char* kRemedy = "restore or download the file again";
constexpr int kDeepestNesting = 256;

/// Looks at brackets alone, so it costs little and needs no valid JSON.
bool nests_too_deep(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      if (++depth > kDeepestNesting) return true;
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return false;
}

/// Parses while watching every object's keys.
Json parse_unique_keys(std::string_view text, std::string_view subject) {
  std::vector<std::set<std::string>> open_objects;
  const auto watch = [&](int, Json::parse_event_t event, Json& value) {
    if (event == Json::parse_event_t::object_start) {
      open_objects.emplace_back();
    } else if (event == Json::parse_event_t::object_end) {
      open_objects.pop_back();
    } else if (event == Json::parse_event_t::key) {
      const auto& key = value.get_ref<const std::string&>();
      if (!open_objects.back().insert(key).second) {
        fail(ErrorCode::corrupt_file, subject,
             concat("names \"", key, "\" twice"), kRemedy);
      }
    }
    return true;
  };
  return Json::parse(text, watch);
}

}  // namespace

Json parse_json_object(std::string_view text, std::string_view subject,
                       RepeatedKeys repeated_keys) {
  if (nests_too_deep(text)) {
    fail(ErrorCode::corrupt_file, subject,
         concat("is JSON nested more than ", kDeepestNesting, " levels deep"),
         kRemedy);
  }
  Json value;
  try {
    value = repeated_keys == RepeatedKeys::refused
                ? parse_unique_keys(text, subject)
                : Json::parse(text);
  } catch (const Json::parse_error& error) {
    fail(ErrorCode::corrupt_file, subject,
         concat("is not valid JSON near byte ", error.byte), kRemedy);
  } catch (const Json::exception&) {
    fail(ErrorCode::corrupt_file, subject,
         "is JSON with a number too large to hold", kRemedy);
  }
  if (!value.is_object()) {
    fail(ErrorCode::corrupt_file, subject,
         concat("expected a JSON object, got ", value.type_name()), kRemedy);
  }
  return value;
}

Json read_json_file(const std::filesystem::path& path,
                    RepeatedKeys repeated_keys) {
  const MappedFile file(path);
  return parse_json_object(file.text(), path.string(), repeated_keys);
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
