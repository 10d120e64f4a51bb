#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

#include <nlohmann/json.hpp>

namespace llamlx {

using Json = nlohmann::json;

/// JSON whose keys stay in the order they were written in.
using OrderedJson = nlohmann::ordered_json;

/// What to do with an object that names a key twice. Config files are read as
/// Python reads them (the last one counts); where two answers would be two
/// different tensors, they are refused.
enum class RepeatedKeys { last_counts, refused };

/// Parses `text`, at most 256 MiB, as one JSON object, nested at most 256
/// levels deep (walking and printing a Json recurses). Errors: Error
/// (corrupt_file) naming `subject` and the place where the text goes wrong.
Json parse_json_object(std::string_view text, std::string_view subject,
                       RepeatedKeys repeated_keys = RepeatedKeys::last_counts);

/// Reads a file that holds one JSON object. Errors: as parse_json_object, and
/// those of MappedFile.
Json read_json_file(const std::filesystem::path& path,
                    RepeatedKeys repeated_keys = RepeatedKeys::last_counts);

/// Writes `value` as people like to read it: keys sorted, indented by four.
/// Errors: Error (no_space, io_error).
void write_json_file(const std::filesystem::path& path, const Json& value);

/// Reads `object[key]` as a T (bool, int, std::int64_t, double, std::string).
/// Empty when the key is absent or null. Integers must be whole and must fit;
/// a number is never taken for a string or a bool. Errors: Error (corrupt_file)
/// naming `subject`, the key, and what was found instead.
template <typename T>
std::optional<T> json_get(const Json& object, const std::string& key,
                          std::string_view subject);

}  // namespace llamlx
