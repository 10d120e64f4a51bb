#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace llamlx {

/// One component of a tokenizer.json (a normalizer, a decoder, ...): its
/// settings, and the words to name it by when they are wrong.
class Component {
 public:
  /// `place` says where `json` stands in `file`, e.g. "pre_tokenizer".
  /// Errors: Error when it is not an object.
  Component(const Json& json, std::string file, std::string place);

  /// The "type", which every component has.
  const std::string& type() const { return type_; }

  /// The setting `key`. Errors: Error when it is absent or of another type.
  template <typename T>
  T required(const std::string& key) const {
    auto value = member<T>(*json_, key);
    if (!value) missing(key);
    return *std::move(value);
  }

  template <typename T>
  std::optional<T> optional(const std::string& key) const {
    return member<T>(*json_, key);
  }

  /// The setting `key`, an object.
  const Json& object(const std::string& key) const;

  /// The setting `key`, an array.
  const Json& array(const std::string& key) const;

  /// The components listed under `key`.
  std::vector<Component> children(const std::string& key) const;

  /// json_get, naming this component.
  template <typename T>
  std::optional<T> member(const Json& json, const std::string& key) const {
    return json_get<T>(json, key, subject());
  }

  /// Throws Error (corrupt_file) for settings that contradict the format.
  [[noreturn]] void corrupt(std::string_view cause) const;

  /// Throws Error (unsupported) for settings that are not known here.
  [[noreturn]] void unsupported(std::string_view cause) const;
  [[noreturn]] void unsupported_type() const;

 private:
  std::string subject() const;
  [[noreturn]] void missing(const std::string& key) const;

  const Json* json_;
  std::string file_;
  std::string place_;
  std::string type_;
};

}  // namespace llamlx
