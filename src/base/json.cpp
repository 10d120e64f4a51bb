#include "base/json.h"

#include <cstdint>
#include <string>
#include <type_traits>
#include <unordered_set>
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
// The largest tokenizer.json there is has 35 MB, an index of shards less.
constexpr std::size_t kLargestText = std::size_t{256} << 20;

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

/// Watches every object's keys. It is a pass of its own: a callback that sees
/// values while they are parsed costs the square of their number.
class KeyWatcher final : public Json::json_sax_t {
 public:
  explicit KeyWatcher(std::string_view subject) : subject_(subject) {}

  bool start_object(std::size_t) override {
    open_objects_.emplace_back();
    return true;
  }
  bool end_object() override {
    open_objects_.pop_back();
    return true;
  }
  bool key(std::string& key) override {
    if (open_objects_.back().insert(key).second) return true;
    fail(ErrorCode::corrupt_file, subject_, concat("names \"", key, "\" twice"),
         kRemedy);
  }

  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool start_array(std::size_t) override { return true; }
  bool end_array() override { return true; }
  // The parse that follows tells.
  bool parse_error(std::size_t, const std::string&,
                   const Json::exception&) override {
    return false;
  }

 private:
  std::string_view subject_;
  std::vector<std::unordered_set<std::string>> open_objects_;
};

}  // namespace

Json parse_json_object(std::string_view text, std::string_view subject,
                       RepeatedKeys repeated_keys) {
  if (text.size() > kLargestText) {
    fail(ErrorCode::corrupt_file, subject,
         concat("has ", text.size(), " bytes, too many for JSON"), kRemedy);
  }
  if (nests_too_deep(text)) {
    fail(ErrorCode::corrupt_file, subject,
         concat("is JSON nested more than ", kDeepestNesting, " levels deep"),
         kRemedy);
  }
  Json value;
  try {
    if (repeated_keys == RepeatedKeys::refused) {
      KeyWatcher watcher(subject);
      Json::sax_parse(text, &watcher);
    }
    value = Json::parse(text);
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
