#include "tokenizer/component.h"

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {

Component::Component(const Json& json, std::string file, std::string place)
    : json_(&json), file_(std::move(file)), place_(std::move(place)) {
  if (!json.is_object()) {
    corrupt(concat("should be an object, got ", json.type_name()));
  }
  type_ = required<std::string>("type");
}

const Json& Component::object(const std::string& key) const {
  const auto found = json_->find(key);
  if (found == json_->end()) missing(key);
  if (!found->is_object()) {
    corrupt(
        concat("\"", key, "\" should be an object, got ", found->type_name()));
  }
  return *found;
}

const Json& Component::array(const std::string& key) const {
  const auto found = json_->find(key);
  if (found == json_->end()) missing(key);
  if (!found->is_array()) {
    corrupt(
        concat("\"", key, "\" should be an array, got ", found->type_name()));
  }
  return *found;
}

std::vector<Component> Component::children(const std::string& key) const {
  std::vector<Component> components;
  for (const Json& child : array(key)) {
    components.emplace_back(
        child, file_, concat(place_, ".", key, "[", components.size(), "]"));
  }
  return components;
}

void Component::corrupt(std::string_view cause) const {
  fail(ErrorCode::corrupt_file, subject(), cause,
       "correct the file or download it again");
}

void Component::unsupported(std::string_view cause) const {
  fail(ErrorCode::unsupported, subject(), cause,
       "use a model whose tokenizer does without it");
}

void Component::unsupported_type() const {
  unsupported(concat("the type \"", type_, "\" is not supported"));
}

std::string Component::subject() const {
  return concat(file_, ": ", place_, type_.empty() ? "" : " ", type_);
}

void Component::missing(const std::string& key) const {
  corrupt(concat("lacks \"", key, "\""));
}

}  // namespace llamlx
