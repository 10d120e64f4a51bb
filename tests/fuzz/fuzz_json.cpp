#include <cstdlib>
#include <utility>

#include "base/json.h"
#include "checkpoint/checkpoint.h"
#include "checkpoint/meta_config.h"
#include "checkpoint/quantization_config.h"
#include "fuzz_file.h"
#include "models/model_config.h"
#include "models/rope.h"

namespace {

/// A config without weights.
class BareCheckpoint final : public llamlx::Checkpoint {
 public:
  explicit BareCheckpoint(llamlx::Json config) : config_(std::move(config)) {}

  const std::filesystem::path& path() const override { return path_; }
  std::vector<std::filesystem::path> weight_files() const override {
    return {};
  }
  std::string_view format() const override { return "fuzz"; }
  const llamlx::Json& config() const override { return config_; }
  const std::vector<llamlx::WeightInfo>& weights() const override {
    return weights_;
  }
  llamlx::Weight load(const llamlx::WeightInfo& /*info*/) const override {
    std::abort();
  }
  std::vector<llamlx::SideFile> side_files() const override { return {}; }
  const std::vector<std::string>& notices() const override { return notices_; }

 private:
  std::filesystem::path path_ = "fuzz";
  llamlx::Json config_;
  std::vector<llamlx::WeightInfo> weights_;
  std::vector<std::string> notices_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data,
                                      std::size_t size) {
  using namespace llamlx;
  const auto text = fuzz::text_of(data, size);
  fuzz::expect_answer_or_error(
      [&] { parse_json_object(text, "fuzz", RepeatedKeys::refused); });
  return fuzz::expect_answer_or_error([&] {
    auto config = parse_json_object(text, "fuzz");
    if (is_meta_config(config))
      config = hugging_face_config(config, {}, "fuzz");
    fuzz::expect_answer_or_error(
        [&] { QuantizationConfig(config, "fuzz").of("model.norm"); });
    const auto model = read_model_config(BareCheckpoint(config));
    rope_periods(model.rope, model.head_dim);
  });
}
