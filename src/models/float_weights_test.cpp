#include <cstdint>
#include <string>
#include <vector>

#include <gtest/gtest.h>

#include "base/concat.h"
#include "cuda/device.h"
#include "cuda/modules.h"
#include "models/decoder_testing.h"

/// Weights of nvfp4 and mxfp8 on a GPU, where kernels read them as they are.
namespace llamlx {
namespace {

using testing::logits_at_once;

class CudaFloatWeightsTest : public ::testing::TestWithParam<QuantizationMode> {
 protected:
  void SetUp() override {
    if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  }
};

RandomCheckpoint packed_model(const Json& changes, QuantizationMode mode) {
  RandomCheckpoint model(testing::tiny_config(changes));
  model.store_as(mx::bfloat16);
  model.quantize_all(default_quantization(mode));
  return model;
}

/// The same with all its weights as numbers of bfloat16.
RandomCheckpoint dense_model(const RandomCheckpoint& packed) {
  auto dense = packed;
  for (const auto& info : packed.weights()) {
    dense.put(info.name, dequantize(packed.load(info), mx::bfloat16));
  }
  return dense;
}

Decoder load(const RandomCheckpoint& model) {
  return Decoder::load(model, mx::bfloat16, cuda_backend(mx::bfloat16));
}

void expect_same_bits(const Decoder& a, const Decoder& b, int rows) {
  std::vector<std::int32_t> ids;
  for (int i = 0; i < rows; ++i) ids.push_back(i * 7 % 32);
  EXPECT_TRUE(mx::array_equal(logits_at_once(a, ids), logits_at_once(b, ids))
                  .item<bool>())
      << rows << " rows";
}

/// Where sums have the same order. One row's columns are cut by how many bytes
/// a tile has; the slices of a weight with more columns than these have follow
/// from its format, too; and warpgroups read operands of codes in another
/// order.
TEST_P(CudaFloatWeightsTest, GiveTheBitsOfBfloat16) {
  const testing::Variant variants[] = {
      {"Tied", {{"tie_word_embeddings", true}}},
      testing::kExpertVariants.front()};
  const bool has_mma_alone = !has_warpgroups(*cuda_device_info());
  for (const auto& [name, changes] : variants) {
    SCOPED_TRACE(name);
    auto wider = changes;
    wider.update(Json{{"hidden_size", 224}, {"intermediate_size", 160}});
    const auto packed = packed_model(wider, GetParam());
    const auto decoder = load(packed);
    const auto dense = load(dense_model(packed));
    for (const int rows : {2, 8}) expect_same_bits(decoder, dense, rows);
    if (!has_mma_alone) continue;
    for (const int rows : {40, 70}) expect_same_bits(decoder, dense, rows);
  }
}

TEST_P(CudaFloatWeightsTest, StayAsTheyAreStored) {
  const auto packed = packed_model(Json::object(), GetParam());
  std::size_t bytes = 0;
  for (const auto& info : packed.weights()) bytes += packed.load(info).nbytes();
  EXPECT_EQ(load(packed).weights().nbytes, bytes);
}

/// One with scales larger than kernels take is held as bfloat16.
TEST_P(CudaFloatWeightsTest, MayBeLarge) {
  auto packed = packed_model(Json::object(), GetParam());
  const std::string name = "model.layers.1.mlp.down_proj.weight";
  const auto values = dequantize(packed.load(*packed.find(name)), mx::float32);
  packed.put(name, quantize(mx::multiply(values, mx::array(0x1p17F)),
                            default_quantization(GetParam())));
  const auto decoder = load(packed);
  const auto& layers = decoder.weights().layers;
  EXPECT_FALSE(layers[1].mlp.down_proj.weight.quantization);
  EXPECT_TRUE(layers[0].mlp.down_proj.weight.quantization);
  expect_same_bits(decoder, load(dense_model(packed)), 5);
}

INSTANTIATE_TEST_SUITE_P(Modes, CudaFloatWeightsTest,
                         ::testing::Values(QuantizationMode::nvfp4,
                                           QuantizationMode::mxfp8),
                         [](const auto& test) {
                           return to_string(test.param);
                         });

}  // namespace
}  // namespace llamlx
