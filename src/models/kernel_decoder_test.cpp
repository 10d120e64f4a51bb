#include <algorithm>
#include <numeric>
#include <string>
#include <tuple>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "base/testing.h"
#include "cuda/modules.h"
#include "models/backend_choice.h"
#include "models/decoder_testing.h"

namespace llamlx {
namespace {

using testing::By;
using testing::logits_at_once;
using testing::tiny_config;
using testing::to_array;
using testing::Variant;

/// Our kernels against MLX's ops, over the same stored values.
struct KernelCase {
  const char* name;
  mx::Dtype stored;
  std::optional<Quantization> quantization;
  mx::Dtype compute;
};

double root_mean_square(const mx::array& x) {
  return mx::sqrt(mx::mean(mx::square(x))).item<float>();
}

/// Makes the choice of experts clear, whatever products are rounded to: the
/// first numbers of a token's embedding are what the routers read; they are
/// apart, or equal in some packings, and nothing is ever added to them.
void choose_clearly(RandomCheckpoint& model) {
  const int experts = read_model_config(model).moe.num_experts;
  const auto infos = model.weights();
  for (const auto& [name, shape, dtype, quantization] : infos) {
    const auto values = model.load(*model.find(name)).data;
    const auto columns = mx::arange(shape.back());
    const auto rows = mx::expand_dims(
        mx::arange(shape.size() > 1 ? shape[shape.size() - 2] : 1), 1);
    if (name.ends_with("embed_tokens.weight")) {
      const auto apart =
          mx::remainder(mx::add(rows, columns), mx::array(experts));
      model.put(name, mx::where(mx::less(columns, mx::array(experts)), apart,
                                values));
    } else if (name.ends_with("o_proj.weight") ||
               name.ends_with("down_proj.weight")) {
      model.put(name, mx::where(mx::less(rows, mx::array(experts)),
                                mx::array(0.0f), values));
    } else if (name.ends_with("post_attention_layernorm.weight")) {
      model.put(name, mx::where(mx::less(columns, mx::array(experts)),
                                mx::array(1.0f), values));
    } else if (name.ends_with(".gate.weight")) {
      model.put(name,
                mx::multiply(mx::eye(experts, shape.back()), mx::array(0.5f)));
    }
  }
}

RandomCheckpoint checkpoint_of(const Json& changes, const KernelCase& kernels) {
  RandomCheckpoint result(tiny_config(changes));
  if (read_model_config(result).has_experts()) choose_clearly(result);
  result.store_as(kernels.stored);
  if (kernels.quantization) result.quantize_all(*kernels.quantization);
  return result;
}

RandomCheckpoint random_checkpoint(const Variant& variant,
                                   const KernelCase& kernels) {
  auto changes = variant.changes;
  changes.update(Json{{"hidden_size", 224}, {"intermediate_size", 160}});
  return checkpoint_of(changes, kernels);
}

class KernelDecoderTest
    : public ::testing::TestWithParam<std::tuple<Variant, KernelCase, By>> {
 protected:
  void SetUp() override { testing::skip_unless_here(std::get<2>(GetParam())); }
};

TEST_P(KernelDecoderTest, IsAsNearToFloat32AsMlxsOpsAre) {
  const auto& [variant, kernels, by] = GetParam();
  const auto model = random_checkpoint(variant, kernels);
  // More rows than go through the kernels for a few.
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(i * 7 % 32);
  const auto exact =
      logits_at_once(Decoder::load(model, mx::float32, mlx_backend()), ids);
  const auto error = [&](const mx::array& logits, int from) {
    return root_mean_square(
        mx::subtract(logits, mx::slice(exact, {from, 0}, exact.shape())));
  };
  // In float32 both differ by roundings alone, a few thousand of which make a
  // logit: at random they add up to the square root of that.
  const double least = 128 * 6e-8 * root_mean_square(exact);
  const auto theirs =
      logits_at_once(Decoder::load(model, kernels.compute, mlx_backend()), ids);
  const double bound = std::max(error(theirs, 0), least);

  const auto decoder = Decoder::load(model, kernels.compute,
                                     testing::backend_of(by, kernels.compute));
  EXPECT_LE(error(logits_at_once(decoder, ids), 0), bound);
  // The last rows again, by the kernels for a few, and by those for one.
  const auto cache = decoder.make_cache(1);
  cache->expect(40);
  const std::span<const std::int32_t> all = ids;
  decoder.forward(to_array(all.first(32)), {{cache.get(), 32}});
  std::vector<mx::array> last;
  for (const int count : {5, 1, 1, 1}) {
    const auto next = all.subspan(static_cast<std::size_t>(cache->offset()),
                                  static_cast<std::size_t>(count));
    last.push_back(decoder.logits(
        decoder.forward(to_array(next), {{cache.get(), count}})));
  }
  EXPECT_LE(error(mx::concatenate(last, 0), 32), bound);
}

class CpuDecoderTest
    : public ::testing::TestWithParam<std::tuple<Variant, KernelCase>> {};

TEST_P(CpuDecoderTest, AnyNumberOfThreadsGivesTheSameBits) {
  const auto& kernels = std::get<1>(GetParam());
  const auto model = random_checkpoint(std::get<0>(GetParam()), kernels);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 40; ++i) ids.push_back(i * 5 % 32);
  const auto logits = [&](int threads) {
    const auto decoder = Decoder::load(model, kernels.compute,
                                       cpu_backend(kernels.compute, threads));
    const auto cache = decoder.make_cache(1);
    const auto many = decoder.forward(to_array(ids), {{cache.get(), 40}});
    const auto few = decoder.forward(mx::array({3}), {{cache.get(), 1}});
    return decoder.logits(mx::concatenate({many, few}, 0));
  };
  const auto one = logits(1);
  for (const int threads : {2, 3, 7}) {
    EXPECT_TRUE(mx::array_equal(logits(threads), one).item<bool>())
        << threads << " threads";
  }
}

const std::vector<KernelCase> kKernelCases = {
    {"Float32", mx::float32, {}, mx::float32},
    {"Float16", mx::float16, {}, mx::float16},
    {"Bfloat16", mx::bfloat16, {}, mx::bfloat16},
    {"Bfloat16InFloat32", mx::bfloat16, {}, mx::float32},
    {"FourBits", mx::bfloat16, Quantization{4, 32}, mx::bfloat16},
    {"FourBitsInFloat32", mx::float16, Quantization{4, 32}, mx::float32},
    {"ThreeBits", mx::float32, Quantization{3, 32}, mx::float32},
    {"EightBits", mx::float16, Quantization{8, 32}, mx::float16},
    {"Mxfp4", mx::bfloat16, default_quantization(QuantizationMode::mxfp4),
     mx::bfloat16},
    {"Mxfp8InFloat32", mx::float32,
     default_quantization(QuantizationMode::mxfp8), mx::float32},
    {"Mxfp8", mx::bfloat16, default_quantization(QuantizationMode::mxfp8),
     mx::bfloat16},
    {"Nvfp4", mx::bfloat16, default_quantization(QuantizationMode::nvfp4),
     mx::bfloat16},
    {"Nvfp4InFloat16", mx::float16,
     default_quantization(QuantizationMode::nvfp4), mx::float16},
};

std::string name_of_kernels(
    const ::testing::TestParamInfo<std::tuple<Variant, KernelCase, By>>& test) {
  const auto& [variant, kernels, by] = test.param;
  return concat(variant.name, kernels.name, testing::to_string(by));
}

INSTANTIATE_TEST_SUITE_P(
    Variants, KernelDecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kVariants),
                       ::testing::ValuesIn(kKernelCases),
                       ::testing::ValuesIn(testing::kKernels)),
    name_of_kernels);

INSTANTIATE_TEST_SUITE_P(
    Experts, KernelDecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kExpertVariants),
                       ::testing::ValuesIn(kKernelCases),
                       ::testing::ValuesIn(testing::kKernels)),
    name_of_kernels);

class ExpertsTest : public ::testing::TestWithParam<By> {
 protected:
  void SetUp() override { testing::skip_unless_here(GetParam()); }
};

TEST_P(ExpertsTest, ProjectionsMayBeStoredInDifferentWays) {
  RandomCheckpoint model(tiny_config(testing::kExpertVariants.front().changes));
  const auto pack = [&](const std::string& projection, int bits) {
    for (const int layer : {0, 1}) {
      const auto name = concat("model.layers.", layer,
                               ".block_sparse_moe.switch_mlp.", projection);
      const auto values =
          dequantize(model.load(*model.find(name)), mx::float32);
      model.put(name, quantize(values, {bits, 32}));
    }
  };
  std::vector<std::int32_t> ids(40, 3);
  std::iota(ids.begin(), ids.begin() + 30, 0);
  const std::span<const std::int32_t> all = ids;
  const auto expect_alike = [&] {
    const auto ops = Decoder::load(model, mx::float32, mlx_backend());
    const auto ours = Decoder::load(
        model, mx::float32, testing::backend_of(GetParam(), mx::float32));
    for (const std::size_t count : {1, 7, 40}) {
      const auto expected = logits_at_once(ops, all.first(count));
      auto error = mx::max(mx::abs(
          mx::subtract(logits_at_once(ours, all.first(count)), expected)));
      EXPECT_LE(error.item<float>(), 1e-4f) << count << " rows";
    }
  };
  pack("up_proj.weight", 4);
  pack("down_proj.weight", 8);
  expect_alike();
  // None is dense.
  pack("gate_proj.weight", 3);
  expect_alike();
}

INSTANTIATE_TEST_SUITE_P(Kernels, ExpertsTest,
                         ::testing::ValuesIn(testing::kKernels),
                         [](const auto& test) {
                           return testing::to_string(test.param);
                         });

/// That logits of so many tokens are as near by these kernels as by MLX's ops.
void expect_prompts_as_near(const Variant& variant, const std::string& name,
                            int rows) {
  const auto& kernels = *std::ranges::find_if(
      kKernelCases, [&](const auto& c) { return c.name == name; });
  const auto model = random_checkpoint(variant, kernels);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < rows; ++i) ids.push_back(i * 7 % 32);
  const auto exact =
      logits_at_once(Decoder::load(model, mx::float32, mlx_backend()), ids);
  const auto error = [&](const Backend& backend) {
    const auto decoder = Decoder::load(model, kernels.compute, backend);
    return root_mean_square(mx::subtract(logits_at_once(decoder, ids), exact));
  };
  EXPECT_LE(error(cuda_backend(kernels.compute)), error(mlx_backend()))
      << variant.name << name << rows;
}

/// More rows than are in all groups: those of an expert lie anywhere.
TEST(CudaExpertsTest, PromptsAreAsNearToFloat32AsMlxsOps) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  for (const auto& variant : testing::kExpertVariants) {
    for (const std::string name : {"Float16", "Bfloat16", "FourBits"}) {
      expect_prompts_as_near(variant, name, 80);
    }
  }
}

/// More rows than go by groups of a few.
TEST(CudaExpertsTest, LongPromptsAreAsNearToFloat32AsMlxsOps) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  for (const auto& variant : testing::kExpertVariants) {
    const auto config =
        read_model_config(RandomCheckpoint(tiny_config(variant.changes)));
    const auto& moe = config.moe;
    constexpr int kRowsAnExpert = 130;
    expect_prompts_as_near(
        variant, "FourBits",
        kRowsAnExpert * moe.num_experts / moe.num_experts_per_tok);
  }
}

/// Which the kernel of a token would take, were it alone.
TEST(CudaExpertsTest, ALayerWithoutThemMayComeFirst) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  auto changes = testing::kExpertVariants.back().changes;
  changes.update(Json{{"num_hidden_layers", 2}, {"mlp_only_layers", {0}}});
  const auto model =
      checkpoint_of(changes, {"Bfloat16", mx::bfloat16, {}, mx::bfloat16});
  const std::vector<std::int32_t> ids = {5};
  const auto logits = [&](mx::Dtype compute, const Backend& backend) {
    return logits_at_once(Decoder::load(model, compute, backend), ids);
  };
  const auto exact = logits(mx::float32, mlx_backend());
  const auto ours = logits(mx::bfloat16, cuda_backend(mx::bfloat16));
  // Operands are rounded to 8 bits, some dozens of times on their way.
  EXPECT_LE(root_mean_square(mx::subtract(ours, exact)),
            0x1p-6 * root_mean_square(exact));
}

/// A checkpoint of bfloat16 in which the first row of an o_proj begins with 64
/// such numbers.
RandomCheckpoint checkpoint_with(float number) {
  auto model = checkpoint_of(
      {{"hidden_size", 256}, {"intermediate_size", 320}, {"head_dim", 64}},
      {"Bfloat16", mx::bfloat16, {}, mx::bfloat16});
  const std::string name = "model.layers.1.self_attn.o_proj.weight";
  const auto values = mx::contiguous(model.load(*model.find(name)).data);
  const auto row = mx::full({1, 64}, number, mx::bfloat16);
  model.put(name,
            mx::slice_update(values, row, mx::Shape{0, 0}, mx::Shape{1, 64}));
  return model;
}

/// Copies of 12.4 bits of what has 16, where no number is lost: then results
/// are those of the weights themselves.
TEST(CudaShortWeightsTest, AreReadForOneRow) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  if (cuda_device_info()->compute_capability < 90) {
    GTEST_SKIP() << "one row is read by several kernels";
  }
  const auto load = [](float number) {
    return Decoder::load(checkpoint_with(number), mx::bfloat16,
                         cuda_backend(mx::bfloat16));
  };
  const auto decoder = load(0);
  const auto spared = static_cast<double>(decoder.spared_bytes(1)) /
                      static_cast<double>(decoder.weights().nbytes);
  EXPECT_NEAR(spared, 1 - 1584.0 / 2048, 0.02);
  EXPECT_EQ(decoder.spared_bytes(2), 0U);
  // More of these are in a tile than there is room for.
  const auto without = load(1e-30F);
  EXPECT_EQ(without.spared_bytes(1), 0U);
  const auto logits = [](const Decoder& by) {
    const auto cache = by.make_cache(8);
    std::vector<mx::array> rows;
    for (const int id : {3, 1, 30, 7}) {
      rows.push_back(
          by.logits(by.forward(mx::array({id}), {{cache.get(), 1}})));
    }
    return mx::concatenate(rows, 0);
  };
  const auto expected = logits(without);
  // x is held in 16 bits at least, and the cache in 8: few of those differ.
  EXPECT_LE(root_mean_square(mx::subtract(logits(decoder), expected)),
            0x1p-10 * root_mean_square(expected));
}

TEST(CudaBackendTest, RefusesWhatItsKernelsDoNotTake) {
  if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  const RandomCheckpoint odd_heads(tiny_config({{"head_dim", 12}}));
  const auto message = testing::error_of(ErrorCode::unsupported, [&] {
    Decoder::load(odd_heads, mx::float32, cuda_backend(mx::float32));
  });
  EXPECT_THAT(message, ::testing::HasSubstr("not 12"));
  EXPECT_THAT(message, ::testing::HasSubstr("--device cpu"));
}

/// Prompts of hundreds of rows, which only a real GPU is quick enough for:
/// blocks of its kernels that are full, and some that are not.
class LongPromptTest
    : public ::testing::TestWithParam<std::tuple<KernelCase, const char*>> {
 protected:
  void SetUp() override {
    if (cuda_modules().empty() || !cuda_device_info()) {
      GTEST_SKIP() << "needs a GPU";
    }
  }
};

TEST_P(LongPromptTest, IsAsNearToFloat32AsTokenByToken) {
  const auto& [kernels, model_type] = GetParam();
  const auto model = checkpoint_of({{"model_type", model_type},
                                    {"hidden_size", 768},
                                    {"intermediate_size", 1088},
                                    {"num_local_experts", 5},
                                    {"head_dim", 64},
                                    {"max_position_embeddings", 512}},
                                   kernels);
  std::vector<std::int32_t> ids;
  for (int i = 0; i < 300; ++i) ids.push_back(i * 7 % 32);
  const auto exact =
      logits_at_once(Decoder::load(model, mx::float32, mlx_backend()), ids);
  const auto decoder =
      Decoder::load(model, kernels.compute, cuda_backend(kernels.compute));
  const auto cache = decoder.make_cache(300);
  std::vector<mx::array> rows;
  const std::span<const std::int32_t> all = ids;
  for (std::size_t i = 0; i < ids.size(); i += 5) {
    const auto x =
        decoder.forward(to_array(all.subspan(i, 5)), {{cache.get(), 5}});
    rows.push_back(decoder.logits(x));
  }
  const double few =
      root_mean_square(mx::subtract(mx::concatenate(rows, 0), exact));
  const double many =
      root_mean_square(mx::subtract(logits_at_once(decoder, ids), exact));
  // Prompts round weights of codes, and the weights of attention, to 16 bits.
  EXPECT_LE(many, std::max(3 * few, 2e-3 * root_mean_square(exact)));
}

INSTANTIATE_TEST_SUITE_P(Formats, LongPromptTest,
                         ::testing::Combine(::testing::ValuesIn(kKernelCases),
                                            ::testing::Values("llama",
                                                              "mixtral")),
                         [](const auto& test) {
                           return concat(std::get<0>(test.param).name, "_",
                                         std::get<1>(test.param));
                         });

std::string name_of_cpu_kernels(
    const ::testing::TestParamInfo<std::tuple<Variant, KernelCase>>& test) {
  const auto& [variant, kernels] = test.param;
  return concat(variant.name, kernels.name);
}

INSTANTIATE_TEST_SUITE_P(
    Variants, CpuDecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kVariants),
                       ::testing::ValuesIn(kKernelCases)),
    name_of_cpu_kernels);

INSTANTIATE_TEST_SUITE_P(
    Experts, CpuDecoderTest,
    ::testing::Combine(::testing::ValuesIn(testing::kExpertVariants),
                       ::testing::ValuesIn(kKernelCases)),
    name_of_cpu_kernels);

}  // namespace
}  // namespace llamlx
