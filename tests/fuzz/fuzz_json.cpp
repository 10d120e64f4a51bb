#include "base/json.h"
#include "checkpoint/meta_config.h"
#include "checkpoint/quantization_config.h"
#include "fuzz_file.h"
#include "models/registry.h"

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
    for (const auto& family : model_families()) {
      fuzz::expect_answer_or_error([&] { family.read_config(config, "fuzz"); });
    }
  });
}
