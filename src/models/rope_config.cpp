#include <cmath>

#include "base/concat.h"
#include "base/error.h"
#include "models/config_values.h"
#include "models/model_config.h"

namespace llamlx {
namespace {

/// What a kind of scaling is read from.
struct RopeSource {
  const Json& config;  ///< config.json
  const Json& object;  ///< its "rope_scaling" or "rope_parameters"
  std::string_view subject;
};

/// The object that describes scaling, or null: transformers 5 writes
/// "rope_parameters" (with the theta inside), older ones "rope_scaling", which
/// transformers still prefers where both are.
const Json* rope_object(const Json& config, std::string_view subject) {
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    const auto found = config.find(key);
    if (found == config.end() || found->is_null()) continue;
    if (!found->is_object()) {
      fail_value(subject, concat('"', key, "\" is not an object"));
    }
    if (!found->empty()) return &*found;
  }
  return nullptr;
}

/// Refuses what would turn positions in another way than the kind tells.
void refuse_variations(const Json& object, std::string_view subject) {
  const auto part = json_get<double>(object, "partial_rotary_factor", subject);
  if (part && *part != 1) {
    fail_unsupported(subject, concat("\"partial_rotary_factor\" is ", *part),
                     "models whose heads turn as a whole can be run");
  }
  if (object.contains("mrope_section") && !object["mrope_section"].is_null()) {
    fail_unsupported(subject, "positions come in sections (\"mrope_section\")",
                     "text models of one position a token can be run");
  }
}

/// The context before scaling; transformers lets a key beside the object
/// overrule the one in it, and falls back on the context itself.
int original_context(const RopeSource& source) {
  constexpr const char* kKey = "original_max_position_embeddings";
  const auto& [config, object, subject] = source;
  const int inside =
      optional_size(object, kKey, subject,
                    optional_size(config, "max_position_embeddings", subject,
                                  RopeConfig{}.original_context));
  return optional_size(config, kKey, subject, inside);
}

void read_linear(const RopeSource& source, RopeConfig& rope) {
  rope.factor = positive_number(source.object, "factor", source.subject);
}

void read_dynamic(const RopeSource& source, RopeConfig& rope) {
  read_linear(source, rope);
  rope.original_context =
      required_size(source.config, "max_position_embeddings", source.subject);
}

void read_llama3(const RopeSource& source, RopeConfig& rope) {
  const auto& [config, object, subject] = source;
  read_linear(source, rope);
  rope.low_freq_factor = positive_number(object, "low_freq_factor", subject, 1);
  rope.high_freq_factor =
      positive_number(object, "high_freq_factor", subject, 4);
  rope.original_context = original_context(source);
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    fail_value(subject, "high_freq_factor does not exceed low_freq_factor");
  }
}

double yarn_mscale(double factor, double mscale) {
  return factor <= 1 ? 1 : 0.1 * mscale * std::log(factor) + 1;
}

/// What transformers infers where "attention_factor" is not given.
double yarn_attention_factor(const RopeSource& source, double factor) {
  const auto number = [&](const char* key) {
    return json_get<double>(source.object, key, source.subject).value_or(0);
  };
  const double mscale = number("mscale");
  const double all_dim = number("mscale_all_dim");
  if (mscale == 0 || all_dim == 0) return yarn_mscale(factor, 1);
  return yarn_mscale(factor, mscale) / yarn_mscale(factor, all_dim);
}

void read_yarn(const RopeSource& source, RopeConfig& rope) {
  const auto& [config, object, subject] = source;
  rope.original_context = original_context(source);
  const bool is_null = object.contains("factor") && object["factor"].is_null();
  if (is_null) {  // the ratio of the contexts
    const double context =
        required_size(config, "max_position_embeddings", subject);
    rope.factor = static_cast<float>(context / rope.original_context);
  } else {
    read_linear(source, rope);
  }
  rope.beta_fast = positive_number(object, "beta_fast", subject, 32);
  rope.beta_slow = positive_number(object, "beta_slow", subject, 1);
  rope.truncate = json_get<bool>(object, "truncate", subject).value_or(true);
  rope.attention_factor =
      positive_number(object, "attention_factor", subject,
                      yarn_attention_factor(source, rope.factor));
  if (rope.beta_fast < rope.beta_slow) {
    fail_value(subject, "\"beta_fast\" is below \"beta_slow\"");
  }
  if (rope.theta <= 1) {
    fail_value(subject, concat("\"rope_theta\" is ", rope.theta));
  }
}

struct RopeKind {
  std::string_view name;
  RopeConfig::Scaling scaling;
  void (*read)(const RopeSource& source, RopeConfig& rope);
};

constexpr RopeKind kKinds[] = {
    {"linear", RopeConfig::Scaling::linear, read_linear},
    {"dynamic", RopeConfig::Scaling::dynamic, read_dynamic},
    {"llama3", RopeConfig::Scaling::llama3, read_llama3},
    {"yarn", RopeConfig::Scaling::yarn, read_yarn},
};

const RopeKind& find_kind(std::string_view name, std::string_view subject) {
  std::string known = "\"default\"";
  for (const auto& kind : kKinds) {
    if (kind.name == name) return kind;
    known += concat(", \"", kind.name, '"');
  }
  fail_unsupported(subject,
                   concat("rotary positions are scaled by \"", name, '"'),
                   concat("these kinds can be run: ", known));
}

void refuse_nested(const Json& object, std::string_view subject) {
  for (const auto& [key, value] : object.items()) {
    if (!value.is_object()) continue;
    fail_unsupported(
        subject,
        concat("rotary positions are told for \"", key, "\" by themselves"),
        "models whose layers turn alike can be run");
  }
}

}  // namespace

std::string_view to_string(RopeConfig::Scaling scaling) {
  for (const auto& kind : kKinds) {
    if (kind.scaling == scaling) return kind.name;
  }
  return "default";
}

RopeConfig read_rope_config(const Json& config, std::string_view subject,
                            float default_theta) {
  RopeConfig rope;
  rope.theta = positive_number(config, "rope_theta", subject, default_theta);
  rope.traditional =
      json_get<bool>(config, "rope_traditional", subject).value_or(false);
  refuse_variations(config, subject);
  const Json* object = rope_object(config, subject);
  if (object == nullptr) return rope;
  refuse_nested(*object, subject);
  refuse_variations(*object, subject);
  rope.theta = positive_number(*object, "rope_theta", subject, rope.theta);
  auto name = json_get<std::string>(*object, "rope_type", subject);
  if (!name) name = json_get<std::string>(*object, "type", subject);
  if (!name || *name == "default") return rope;
  const auto& kind = find_kind(*name, subject);
  rope.scaling = kind.scaling;
  kind.read({config, *object, subject}, rope);
  return rope;
}

}  // namespace llamlx
