#include "tokenizer/post_processor.h"

#include <algorithm>
#include <string>
#include <utility>

#include "base/concat.h"

namespace llamlx {
namespace {

// The ids of the special token that a template calls `name`.
std::vector<std::int32_t> special_ids(const Component& component,
                                      const std::string& name) {
  const Json& tokens = component.object("special_tokens");
  const auto token = tokens.find(name);
  if (token == tokens.end() || !token->is_object()) {
    component.corrupt(concat("\"special_tokens\" lacks ", name));
  }
  const auto list = token->find("ids");
  if (list == token->end() || !list->is_array()) {
    component.corrupt(concat("the special token ", name, " has no \"ids\""));
  }
  std::vector<std::int32_t> ids;
  for (const Json& id : *list) {
    if (!id.is_number_unsigned() || id.get<std::uint64_t>() > INT32_MAX) {
      component.corrupt(
          concat("the ids of ", name, " should be whole numbers"));
    }
    ids.push_back(id.get<std::int32_t>());
  }
  return ids;
}

}  // namespace

PostProcessor::PostProcessor(const Component& component) { append(component); }

void PostProcessor::append(const Component& component) {
  if (component.type() == "Sequence") {
    for (const auto& child : component.children("processors")) append(child);
  } else if (component.type() == "TemplateProcessing") {
    templates_.push_back(read_template(component));
  } else if (component.type() != "ByteLevel") {
    component.unsupported_type();
  }
}

PostProcessor::Template PostProcessor::read_template(
    const Component& component) {
  Template pieces;
  for (const Json& piece : component.array("single")) {
    const bool is_object = piece.is_object() && piece.size() == 1;
    const std::string kind = is_object ? piece.begin().key() : "";
    if ((kind != "Sequence" && kind != "SpecialToken") ||
        !piece.begin()->is_object()) {
      component.corrupt(
          "\"single\" should list objects called Sequence or SpecialToken");
    }
    const auto id = component.member<std::string>(*piece.begin(), "id");
    if (!id) component.corrupt("a piece of \"single\" has no \"id\"");
    if (kind == "SpecialToken") {
      pieces.push_back({false, special_ids(component, *id)});
    } else if (*id == "A") {
      pieces.push_back({true, {}});
    } else {
      component.corrupt(
          concat("\"single\" names the sequence ", *id, ", but has only A"));
    }
  }
  return pieces;
}

std::int64_t PostProcessor::id_end() const {
  std::int64_t end = 0;
  for (const Template& pieces : templates_) {
    for (const Piece& piece : pieces) {
      for (const std::int32_t id : piece.ids) {
        end = std::max<std::int64_t>(end, std::int64_t{id} + 1);
      }
    }
  }
  return end;
}

std::vector<std::int32_t> PostProcessor::apply(std::vector<std::int32_t> ids,
                                               bool add_special_tokens) const {
  for (const Template& pieces : templates_) {
    std::vector<std::int32_t> result;
    for (const Piece& piece : pieces) {
      if (!piece.is_text && !add_special_tokens) continue;
      const auto& part = piece.is_text ? ids : piece.ids;
      result.insert(result.end(), part.begin(), part.end());
    }
    ids = std::move(result);
  }
  return ids;
}

}  // namespace llamlx
