#include "llamlx/llamlx.h"

#include <mutex>
#include <stdexcept>
#include <utility>

#include "base/error.h"
#include "convert/convert.h"
#include "generate/compare.h"
#include "generate/loaded_model.h"
#include "generate/score.h"

namespace llamlx {
namespace {

/// The tokenizer, or the error that says there is none.
const Tokenizer& require_tokenizer(const LoadedModel& model) {
  if (model.tokenizer != nullptr) return *model.tokenizer;
  fail(ErrorCode::not_found, "the model", "has no tokenizer",
       "put tokenizer.json or tokenizer.model beside its weights, or give "
       "token ids");
}

}  // namespace

const char* version() noexcept { return LLAMLX_VERSION; }

const char* to_string(FinishReason reason) noexcept {
  switch (reason) {
    case FinishReason::stop:
      return "stop";
    case FinishReason::length:
      return "length";
    case FinishReason::cancelled:
      return "cancelled";
  }
  return "";
}

struct Model::Impl {
  LoadedModel model;
  std::mutex one_at_a_time;
};

Model::Model(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Model::Model(Model&&) noexcept = default;
Model& Model::operator=(Model&&) noexcept = default;
Model::~Model() = default;

Model Model::load(const std::filesystem::path& path,
                  const LoadOptions& options) {
  return Model(std::unique_ptr<Impl>(new Impl{load_model(path, options), {}}));
}

const ModelInfo& Model::info() const { return impl_->model.info; }

const std::vector<std::string>& Model::notices() const {
  return impl_->model.notices;
}

Result Model::generate(std::string_view prompt, const GenerateOptions& options,
                       const StreamFn& on_delta) const {
  return generate(encode(prompt), options, on_delta);
}

Result Model::generate(std::span<const std::int32_t> prompt_ids,
                       const GenerateOptions& options,
                       const StreamFn& on_delta) const {
  const std::lock_guard lock(impl_->one_at_a_time);
  const auto& [decoder, tokenizer, processor, info, notices] = impl_->model;
  const DeviceScope scope(array_device(processor));
  return llamlx::generate({decoder, tokenizer.get(), info.eos_ids}, prompt_ids,
                          options, on_delta);
}

Score Model::score(std::span<const std::int32_t> ids) const {
  const std::lock_guard lock(impl_->one_at_a_time);
  const DeviceScope scope(array_device(impl_->model.processor));
  return llamlx::score(impl_->model.decoder, ids);
}

Comparison Model::compare(const Model& b,
                          std::span<const std::int32_t> ids) const {
  const auto& model_a = impl_->model;
  const auto& model_b = b.impl_->model;
  if (model_a.processor != model_b.processor) {
    throw std::invalid_argument("compare models that are on one device");
  }
  std::unique_lock lock_a(impl_->one_at_a_time, std::defer_lock);
  std::unique_lock lock_b(b.impl_->one_at_a_time, std::defer_lock);
  if (&model_a == &model_b) {
    lock_a.lock();
  } else {
    std::lock(lock_a, lock_b);
  }
  if (model_a.tokenizer && model_b.tokenizer) {
    check_same_vocabulary(*model_a.tokenizer, *model_b.tokenizer);
  }
  const DeviceScope scope(array_device(model_a.processor));
  return llamlx::compare(model_a.decoder, model_b.decoder, ids);
}

bool Model::has_tokenizer() const { return impl_->model.tokenizer != nullptr; }

std::vector<std::int32_t> Model::encode(std::string_view text,
                                        bool add_special_tokens) const {
  return require_tokenizer(impl_->model).encode(text, add_special_tokens);
}

std::string Model::decode(std::span<const std::int32_t> ids) const {
  return require_tokenizer(impl_->model).decode(ids);
}

ConvertResult convert(const std::filesystem::path& source,
                      const std::filesystem::path& destination,
                      const ConvertOptions& options,
                      const ProgressFn& on_progress) {
  return convert_checkpoint(*Checkpoint::open(source), destination, options,
                            on_progress);
}

}  // namespace llamlx
