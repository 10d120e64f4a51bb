#include "checkpoint/expert_stacks.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "base/concat.h"
#include "base/testing.h"
#include "checkpoint/folder_checkpoint.h"
#include "formats/safetensors_testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;

using Tensors = std::map<std::string, mx::array>;

constexpr const char* kStack =
    "model.layers.1.block_sparse_moe.switch_mlp.up_proj.weight";

TEST(ExpertNameTest, IsTakenApartAndPutTogether) {
  const std::pair<const char*, const char*> pairs[] = {
      {"model.layers.0.block_sparse_moe.experts.12.w1.weight",
       "model.layers.0.block_sparse_moe.switch_mlp.gate_proj.weight"},
      {"model.layers.0.block_sparse_moe.experts.12.w2.weight",
       "model.layers.0.block_sparse_moe.switch_mlp.down_proj.weight"},
      {"model.layers.0.block_sparse_moe.experts.12.w3.weight",
       "model.layers.0.block_sparse_moe.switch_mlp.up_proj.weight"},
      {"model.layers.9.mlp.experts.12.gate_proj.weight",
       "model.layers.9.mlp.switch_mlp.gate_proj.weight"},
      {"model.layers.9.mlp.experts.12.up_proj.weight",
       "model.layers.9.mlp.switch_mlp.up_proj.weight"},
      {"model.layers.9.mlp.experts.12.down_proj.weight",
       "model.layers.9.mlp.switch_mlp.down_proj.weight"},
  };
  for (const auto& [apart, stack] : pairs) {
    const auto name = parse_expert_name(apart);
    ASSERT_TRUE(name) << apart;
    EXPECT_EQ(name->stack, stack);
    EXPECT_EQ(name->expert, 12);
    EXPECT_EQ(expert_name(stack, 12), apart);
  }
}

TEST(ExpertNameTest, IsNoOtherName) {
  for (const char* name :
       {"model.layers.0.mlp.up_proj.weight", "model.norm.weight",
        "model.layers.0.mlp.experts.01.up_proj.weight",
        "model.layers.0.mlp.experts.-1.up_proj.weight",
        "model.layers.0.mlp.experts.99999999999.up_proj.weight",
        "model.layers.0.mlp.experts.up_proj.weight",
        "model.layers.0.mlp.experts.0.w1.weight",
        "model.layers.0.mlp.experts.0.up_proj.bias",
        "model.layers.0.mlp.experts.0.up_proj",
        "model.layers.0.block_sparse_moe.experts.0.up_proj.weight"}) {
    EXPECT_FALSE(parse_expert_name(name)) << name;
  }
  EXPECT_THROW(expert_name("model.norm.weight", 0), std::invalid_argument);
}

class ExpertStackTest : public ::testing::Test {
 protected:
  ExpertStackTest() {
    folder_.write("config.json", R"({"model_type": "mixtral", "quantization":
                                     {"group_size": 32, "bits": 4}})");
    for (int expert = 0; expert < 3; ++expert) {
      put(expert,
          mx::random::normal({5, 64}, mx::bfloat16, mx::random::key(expert)));
    }
  }

  void put(int expert, const mx::array& values) {
    tensors_.insert_or_assign(expert_name(kStack, expert), values);
  }

  std::unique_ptr<Checkpoint> open() const {
    testing::write_safetensors(folder_.path() / "model.safetensors", tensors_);
    return open_folder_checkpoint(folder_.path());
  }

  std::string refusal() const {
    return error_of(ErrorCode::mismatch, [&] { open(); });
  }

  mx::array expert(int index) const {
    return tensors_.at(expert_name(kStack, index));
  }

  testing::TemporaryFolder folder_;
  Tensors tensors_;
};

TEST_F(ExpertStackTest, HoldsTheExpertsInTheirOrder) {
  const auto checkpoint = open();
  ASSERT_EQ(checkpoint->weights().size(), 1u);
  const auto& info = checkpoint->weights().front();
  EXPECT_EQ(info.name, kStack);
  EXPECT_EQ(info.shape, (mx::Shape{3, 5, 64}));
  EXPECT_EQ(info.dtype, mx::bfloat16);
  EXPECT_TRUE(mx::array_equal(checkpoint->load(info).data,
                              mx::stack({expert(0), expert(1), expert(2)}))
                  .item<bool>());
}

TEST_F(ExpertStackTest, JoinsAllPartsOfPackedOnes) {
  const Quantization four = {.bits = 4, .group_size = 32};
  std::vector<Weight> packed;
  for (int i = 0; i < 3; ++i) {
    packed.push_back(quantize(expert(i), four));
    const auto name = expert_name(kStack, i);
    const auto module = name.substr(0, name.rfind('.'));
    tensors_.insert_or_assign(name, packed[i].data);
    tensors_.insert_or_assign(module + ".scales", *packed[i].scales);
    tensors_.insert_or_assign(module + ".biases", *packed[i].biases);
  }
  const auto checkpoint = open();
  const auto& info = checkpoint->weights().front();
  EXPECT_EQ(info.shape, (mx::Shape{3, 5, 64}));
  EXPECT_EQ(info.quantization, four);
  const auto stack = checkpoint->load(info);
  for (int i = 0; i < 3; ++i) {
    const auto one = join_rows(slice_rows(stack, i, i + 1));
    EXPECT_TRUE(mx::array_equal(one.data, packed[i].data).item<bool>());
    EXPECT_TRUE(mx::array_equal(*one.scales, *packed[i].scales).item<bool>());
    EXPECT_TRUE(mx::array_equal(*one.biases, *packed[i].biases).item<bool>());
  }
}

TEST_F(ExpertStackTest, AnExpertThatIsMissingIsNamed) {
  tensors_.erase(expert_name(kStack, 1));
  EXPECT_THAT(refusal(), HasSubstr("experts.1.w3.weight is missing"));
}

TEST_F(ExpertStackTest, AnExpertThatDiffersIsNamed) {
  put(2, mx::zeros({4, 64}, mx::bfloat16));
  EXPECT_THAT(refusal(), HasSubstr("experts.2.w3.weight differs"));
  put(2, mx::zeros({5, 64}, mx::float16));
  EXPECT_THAT(refusal(), HasSubstr("experts.2.w3.weight differs"));
}

TEST_F(ExpertStackTest, ExpertsThatAreThereTwiceAreRefused) {
  tensors_.insert_or_assign(kStack, mx::zeros({3, 5, 64}, mx::bfloat16));
  EXPECT_THAT(refusal(), HasSubstr("stored one by one as well"));
}

}  // namespace
}  // namespace llamlx
