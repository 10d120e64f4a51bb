#include "checkpoint/gguf_checkpoint.h"

#include <algorithm>
#include <mutex>
#include <stdexcept>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "checkpoint/gguf_config.h"
#include "checkpoint/gguf_family.h"
#include "checkpoint/gguf_rope.h"
#include "checkpoint/gguf_tokenizer.h"
#include "checkpoint/rope_rows.h"
#include "formats/gguf_blocks.h"
#include "formats/gguf_reader.h"

namespace llamlx {
namespace {

/// A tensor of the file and what is known of it.
struct Source {
  WeightInfo info;
  const GgufTensor* tensor;
  GgufRows rows;
};

/// Written by old converters; positions need no tensor.
bool is_unused(std::string_view name) {
  return name.ends_with(".attn_rot_embd") ||
         name.ends_with(".attn_rot_embd.weight");
}

[[noreturn]] void fail_unknown_tensor(const GgufFile& file,
                                      const GgufFamily& family,
                                      std::string_view name) {
  fail(ErrorCode::unsupported, file.path().string(),
       concat("tensor ", name, " is not part of the ", family.architecture,
              " models that can be run"),
       "take another file of the model");
}

void check_rows(const GgufFile& file, const Source& source,
                const Json& config) {
  if (source.rows == GgufRows::kept) return;
  const auto* key = source.rows == GgufRows::query_permuted
                        ? "num_attention_heads"
                        : "num_key_value_heads";
  const auto heads = config.at(key).get<std::int64_t>();
  const auto head_dim = config.at("head_dim").get<std::int64_t>();
  if (heads * head_dim == source.info.shape.front() && head_dim % 2 == 0) {
    return;
  }
  fail(
      ErrorCode::mismatch, file.path().string(),
      concat("tensor ", source.tensor->name, " has ", source.info.shape.front(),
             " rows, but the metadata say ", heads, " heads of ", head_dim),
      "convert the model again with a current llama.cpp");
}

class GgufCheckpoint final : public Checkpoint {
 public:
  explicit GgufCheckpoint(const std::filesystem::path& file)
      : file_(file),
        family_(find_gguf_family(file_)),
        config_(make_gguf_config(file_, family_)),
        notices_(gguf_tokenizer_notices(file_)) {
    for (const auto& tensor : file_.tensors()) add(tensor);
    const auto by_name = [](const Source& source) -> const std::string& {
      return source.info.name;
    };
    std::ranges::sort(sources_, {}, by_name);
    for (const auto& source : sources_) weights_.push_back(source.info);
  }

  const std::filesystem::path& path() const override { return file_.path(); }
  std::vector<std::filesystem::path> weight_files() const override {
    return {file_.path()};
  }
  std::string_view format() const override { return "gguf"; }
  const Json& config() const override { return config_; }
  const std::vector<WeightInfo>& weights() const override { return weights_; }
  const std::vector<std::string>& notices() const override { return notices_; }

  Weight load(const WeightInfo& info) const override {
    const auto* found = find(info.name);
    if (found == nullptr) {
      throw std::invalid_argument("load() takes an element of weights()");
    }
    const auto& source =
        sources_[static_cast<std::size_t>(found - weights_.data())];
    std::vector<std::int32_t> order;
    if (source.rows != GgufRows::kept) {
      order =
          hugging_face_row_order(source.info.shape.front(),
                                 config_.at("head_dim").get<std::int32_t>());
    }
    return read_gguf_weight(file_, *source.tensor, order);
  }

  std::vector<SideFile> side_files() const override {
    const std::scoped_lock lock(side_files_mutex_);
    if (!side_files_) side_files_ = make_gguf_tokenizer_files(file_, config_);
    return *side_files_;
  }

 private:
  void add(const GgufTensor& tensor) {
    if (tensor.name == kGgufRopeFactors) return;  // told by the config
    if (is_unused(tensor.name)) {
      notices_.push_back(concat("ignored tensor ", tensor.name));
      return;
    }
    const auto name = find_gguf_tensor_name(family_, tensor.name);
    const auto layers = config_.at("num_hidden_layers").get<std::int32_t>();
    if (!name || name->layer.value_or(0) >= layers) {
      fail_unknown_tensor(file_, family_, tensor.name);
    }
    const auto format = gguf_weight_format(file_, tensor);
    Source source{{name->hugging_face_name, tensor.shape, format.dtype,
                   format.quantization},
                  &tensor,
                  name->rows};
    check_rows(file_, source, config_);
    sources_.push_back(std::move(source));
  }

  GgufFile file_;
  const GgufFamily& family_;
  Json config_;
  std::vector<std::string> notices_;
  std::vector<Source> sources_;      // sorted by name, as
  std::vector<WeightInfo> weights_;  // these
  mutable std::mutex side_files_mutex_;
  mutable std::optional<std::vector<SideFile>> side_files_;
};

}  // namespace

std::unique_ptr<Checkpoint> open_gguf_checkpoint(
    const std::filesystem::path& path) {
  return std::make_unique<GgufCheckpoint>(path);
}

}  // namespace llamlx
