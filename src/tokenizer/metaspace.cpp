#include "tokenizer/metaspace.h"

#include "base/concat.h"
#include "base/utf8.h"

namespace llamlx {

MetaspaceSettings read_metaspace(const Component& component) {
  MetaspaceSettings settings;
  settings.replacement = component.required<std::string>("replacement");
  if (settings.replacement.empty() ||
      utf8_length(settings.replacement[0]) != settings.replacement.size()) {
    component.corrupt("\"replacement\" should be one character");
  }
  const auto scheme = component.optional<std::string>("prepend_scheme");
  if (scheme == "first") {
    settings.scheme = PrependScheme::first;
  } else if (scheme == "never") {
    settings.scheme = PrependScheme::never;
  } else if (scheme.value_or("always") != "always") {
    component.unsupported(
        concat("the prepend_scheme \"", *scheme, "\" is not known"));
  }
  if (component.optional<bool>("add_prefix_space") == false) {
    if (scheme.value_or("never") != "never") {
      component.corrupt("add_prefix_space contradicts prepend_scheme");
    }
    settings.scheme = PrependScheme::never;
  }
  settings.split = component.optional<bool>("split").value_or(true);
  return settings;
}

}  // namespace llamlx
