#include "checkpoint/tensor_set_checkpoint.h"

#include <system_error>
#include <utility>

#include "base/error.h"
#include "base/mapped_file.h"
#include "checkpoint/meta_config.h"
#include "checkpoint/meta_names.h"
#include "checkpoint/quantization_config.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;

/// Tells the tensors by Hugging Face's names. What the table does not know
/// keeps its own: whoever checks the tensors names it.
TensorSet in_hugging_face_names(const TensorSet& tensors) {
  TensorSet renamed;
  for (const auto& [name, tensor] : tensors) {
    if (name == "rope.freqs") continue;  // the config tells them
    renamed.emplace(hugging_face_name(name).value_or(name), tensor);
  }
  return renamed;
}

/// With the keys of "quantization" that are names of modules in Hugging Face's.
Json in_hugging_face_names(const Json& quantization) {
  if (!quantization.is_object()) return quantization;
  Json renamed = Json::object();
  for (const auto& [key, value] : quantization.items()) {
    const auto name = hugging_face_name(key + ".weight");
    renamed[name ? name->substr(0, name->rfind('.')) : key] = value;
  }
  return renamed;
}

}  // namespace

void TensorSetCheckpoint::describe(const char* name, TensorSet tensors,
                                   std::string_view format) {
  const auto file = folder_ / name;
  std::error_code ignored;
  if (!fs::exists(file, ignored)) {
    fail(ErrorCode::not_found, file.string(),
         "is missing, so nothing says what model this is",
         "download it from the model's source");
  }
  const auto subject = file.string();
  format_ = format;
  tensors_ = std::move(tensors);
  const MappedFile contents(file);
  config_ = parse_json_object(contents.text(), subject);
  if (is_meta_config(config_)) {
    params_ = OrderedJson::parse(contents.text());
    tensors_ = in_hugging_face_names(tensors_);
    config_ = hugging_face_config(config_, tensors_, subject);
    if (config_.contains("quantization")) {
      config_["quantization"] = in_hugging_face_names(config_["quantization"]);
    }
  }
  weights_ = list_weights(tensors_, QuantizationConfig(config_, file.string()));
}

}  // namespace llamlx
