#include "checkpoint/tensor_set_checkpoint.h"

#include <cstddef>
#include <cstring>
#include <system_error>
#include <utility>

#include "base/concat.h"
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
    if (is_rope_frequencies(name)) continue;
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

/// Keys in their order are sought one after another, and nothing has so many.
void check_key_count(const Json& config, const std::string& subject) {
  constexpr std::size_t kMostKeys = 4096;
  if (config.size() <= kMostKeys) return;
  fail(ErrorCode::corrupt_file, subject, concat("has ", config.size(), " keys"),
       "take it from the model's source again");
}

/// Whether both modules hold the same parameters, to the last bit. Nothing is
/// read where the file's checksums differ already.
bool are_equal(const TensorSet& tensors, const std::string& a,
               const std::string& b) {
  for (const char* part : {".weight", ".scales", ".biases"}) {
    const auto* of_a = find(tensors, a + part);
    const auto* of_b = find(tensors, b + part);
    if (of_a == nullptr && of_b == nullptr) continue;
    if (of_a == nullptr || of_b == nullptr) return false;
    if (of_a->tensor->dtype_name != of_b->tensor->dtype_name ||
        of_a->tensor->shape != of_b->tensor->shape) {
      return false;
    }
    if (of_a->file->checksum(*of_a->tensor) !=
        of_b->file->checksum(*of_b->tensor)) {
      return false;
    }
    const auto values_a = of_a->read();
    const auto values_b = of_b->read();
    if (std::memcmp(values_a.data<std::byte>(), values_b.data<std::byte>(),
                    values_a.nbytes()) != 0) {
      return false;
    }
  }
  return true;
}

/// Meta's words have none for tied embeddings: MLX's convert.py stores them
/// twice.
void find_tie(Json& config, TensorSet& tensors) {
  constexpr const char* kEmbeddings = "model.embed_tokens";
  constexpr const char* kOutput = "lm_head";
  if (find(tensors, concat(kOutput, ".weight")) == nullptr ||
      find(tensors, concat(kEmbeddings, ".weight")) == nullptr ||
      config.contains("tie_word_embeddings") ||
      !are_equal(tensors, kEmbeddings, kOutput)) {
    return;
  }
  config["tie_word_embeddings"] = true;
  for (const char* part : {".weight", ".scales", ".biases"}) {
    tensors.erase(concat(kOutput, part));
  }
}

}  // namespace

void require_config(const fs::path& file) {
  std::error_code ignored;
  if (fs::exists(file, ignored)) return;
  fail(ErrorCode::not_found, file.string(),
       "is missing, so nothing says what model this is",
       "download it from the model's source");
}

void TensorSetCheckpoint::describe(const char* name, TensorSet tensors,
                                   std::string_view format) {
  const auto file = folder_ / name;
  require_config(file);
  const auto subject = file.string();
  format_ = format;
  tensors_ = std::move(tensors);
  const MappedFile contents(file);
  config_ = parse_json_object(contents.text(), subject);
  if (is_meta_config(config_)) {
    check_key_count(config_, subject);
    params_ = OrderedJson::parse(contents.text());
    tensors_ = in_hugging_face_names(tensors_);
    config_ = hugging_face_config(config_, tensors_, subject);
    if (format == "npz") find_tie(config_, tensors_);
    if (config_.contains("quantization")) {
      config_["quantization"] = in_hugging_face_names(config_["quantization"]);
    }
  }
  weights_ = list_weights(tensors_, QuantizationConfig(config_, subject));
}

}  // namespace llamlx
