#include "checkpoint/quantization_config.h"

#include <utility>

#include "base/concat.h"
#include "base/error.h"

namespace llamlx {
namespace {

constexpr const char* kRemedy = "take it from the model's source again";

/// The object under `key`; null when there is none.
Json object_at(const Json& config, const char* key,
               const std::string& subject) {
  const auto found = config.find(key);
  if (found == config.end() || found->is_null()) return {};
  if (!found->is_object()) {
    fail(ErrorCode::corrupt_file, subject,
         concat("\"", key, "\" is not an object"), kRemedy);
  }
  return *found;
}

}  // namespace

QuantizationConfig::QuantizationConfig(const Json& config, std::string subject)
    : settings_(object_at(config, "quantization", subject)),
      subject_(std::move(subject)) {
  if (!settings_.is_null()) return;
  settings_ = object_at(config, "quantization_config", subject_);
  if (settings_.is_null()) return;
  const auto method =
      json_get<std::string>(settings_, "quant_method", subject_);
  if (!method) return;
  fail(ErrorCode::unsupported, subject_,
       concat("the weights are quantised by ", *method,
              ", which llamlx does not read"),
       "give the unquantised model, an MLX folder or a GGUF file");
}

Quantization QuantizationConfig::of(const std::string& module) const {
  if (settings_.is_null()) {
    fail(ErrorCode::mismatch, subject_,
         concat("the weight of ", module,
                " is quantised, but there is no \"quantization\" to say how"),
         kRemedy);
  }
  const auto found = settings_.find(module);
  if (found == settings_.end()) return parse(settings_, module, false);
  if (found->is_object()) return parse(*found, module, true);
  if (!found->is_boolean()) {
    fail(ErrorCode::corrupt_file, subject_,
         concat("the quantisation of ", module,
                " is neither an object nor true or false"),
         kRemedy);
  }
  if (found->get<bool>()) return parse(settings_, module, false);
  fail(ErrorCode::mismatch, subject_,
       concat("says that ", module,
              " is not quantised, but its weight has scales"),
       kRemedy);
}

Quantization QuantizationConfig::parse(const Json& settings,
                                       const std::string& module,
                                       bool with_defaults) const {
  const auto name =
      json_get<std::string>(settings, "mode", subject_).value_or("affine");
  const auto mode = quantization_mode(name);
  if (!mode) {
    fail(ErrorCode::unsupported, subject_,
         concat("the weight of ", module, " is quantised in the mode ", name),
         "llamlx reads affine, mxfp4, mxfp8 and nvfp4");
  }
  auto quantization = default_quantization(*mode);
  const auto take = [&](const char* key, int& value) {
    if (const auto stated = json_get<int>(settings, key, subject_)) {
      value = *stated;
    } else if (!with_defaults) {
      fail(ErrorCode::corrupt_file, subject_,
           concat("\"quantization\" does not say \"", key, "\""), kRemedy);
    }
  };
  take("bits", quantization.bits);
  take("group_size", quantization.group_size);
  if (!is_supported(quantization)) {
    fail(
        ErrorCode::unsupported, subject_,
        concat("the weight of ", module, " is quantised to ", quantization.bits,
               " bits in groups of ", quantization.group_size),
        what_is_supported(*mode));
  }
  return quantization;
}

}  // namespace llamlx
