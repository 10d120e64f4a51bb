#include "checkpoint/folder_checkpoint.h"

#include <filesystem>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>
#include <mlx/random.h>

#include "base/concat.h"
#include "base/json.h"
#include "base/testing.h"
#include "formats/safetensors_testing.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

using Tensors = std::map<std::string, mx::array>;

class FolderCheckpointTest : public ::testing::Test {
 protected:
  FolderCheckpointTest() {
    folder_.write("config.json", R"({"model_type": "llama", "quantization":
                                     {"group_size": 32, "bits": 4}})");
  }

  void write(const Tensors& tensors) const {
    testing::write_safetensors(folder_.path() / "model.safetensors", tensors);
  }

  std::unique_ptr<Checkpoint> open() const {
    return open_folder_checkpoint(folder_.path());
  }

  std::string refusal(ErrorCode code) const {
    return error_of(code, [&] { open(); });
  }

  std::string refusal_of(ErrorCode code, const Tensors& tensors) const {
    write(tensors);
    const auto message = refusal(code);
    EXPECT_THAT(message, HasSubstr("model.safetensors: tensor m.weight"));
    return message;
  }

  testing::TemporaryFolder folder_;
};

/// A weight of shape [6, 64] as 4 bits in groups of 32.
Tensors quantised_tensors(const std::string& module) {
  const auto dense = mx::random::normal({6, 64}, mx::random::key(7));
  const auto weight = quantize(dense, {.bits = 4, .group_size = 32});
  return {{module + ".weight", weight.data},
          {module + ".scales", *weight.scales},
          {module + ".biases", *weight.biases}};
}

bool same(const mx::array& a, const mx::array& b) {
  return a.dtype() == b.dtype() && mx::array_equal(a, b).item<bool>();
}

TEST_F(FolderCheckpointTest, ListsDenseWeightsByName) {
  write({{"b.weight", mx::zeros({2, 3}, mx::bfloat16)},
         {"b.bias", mx::zeros({2}, mx::float16)},
         {"a", mx::zeros({}, mx::float32)}});
  const auto checkpoint = open();
  EXPECT_EQ(checkpoint->format(), "safetensors");
  EXPECT_EQ(checkpoint->path(), folder_.path());
  EXPECT_EQ(checkpoint->config().at("model_type"), "llama");
  EXPECT_THAT(checkpoint->notices(), IsEmpty());
  const auto& weights = checkpoint->weights();
  ASSERT_EQ(weights.size(), 3u);
  EXPECT_EQ(weights[0].name, "a");
  EXPECT_EQ(weights[1].name, "b.bias");
  EXPECT_TRUE(weights[1].dtype == mx::float16);
  EXPECT_EQ(weights[2].name, "b.weight");
  EXPECT_EQ(weights[2].shape, (mx::Shape{2, 3}));
  EXPECT_FALSE(weights[2].quantization);
  EXPECT_EQ(checkpoint->find("b.bias"), &weights[1]);
  EXPECT_EQ(checkpoint->find("c"), nullptr);
}

TEST_F(FolderCheckpointTest, LoadsDenseValues) {
  const auto values = mx::random::normal({3, 5}, mx::random::key(1));
  write({{"a", values}});
  const auto checkpoint = open();
  const auto weight = checkpoint->load(checkpoint->weights()[0]);
  EXPECT_TRUE(same(weight.data, values));
  EXPECT_FALSE(weight.quantization);
  EXPECT_FALSE(weight.scales);
}

TEST_F(FolderCheckpointTest, ShowsAQuantisedWeightOnceByItsLogicalShape) {
  auto tensors = quantised_tensors("m");
  tensors.emplace("m.bias", mx::zeros({6}));
  tensors.emplace("norm.weight", mx::ones({64}));
  write(tensors);
  const auto checkpoint = open();
  const auto& weights = checkpoint->weights();
  ASSERT_EQ(weights.size(), 3u);
  EXPECT_EQ(weights[0].name, "m.bias");
  EXPECT_EQ(weights[1].name, "m.weight");
  EXPECT_EQ(weights[1].shape, (mx::Shape{6, 64}));
  EXPECT_TRUE(weights[1].dtype == mx::float32);
  EXPECT_EQ(weights[1].quantization,
            (Quantization{.bits = 4, .group_size = 32}));
  EXPECT_EQ(weights[2].name, "norm.weight");
  EXPECT_FALSE(weights[2].quantization);
}

TEST_F(FolderCheckpointTest, LoadsAQuantisedWeightWhole) {
  const auto tensors = quantised_tensors("m");
  write(tensors);
  const auto checkpoint = open();
  const auto weight = checkpoint->load(checkpoint->weights()[0]);
  EXPECT_TRUE(same(weight.data, tensors.at("m.weight")));
  EXPECT_TRUE(same(*weight.scales, tensors.at("m.scales")));
  EXPECT_TRUE(same(*weight.biases, tensors.at("m.biases")));
  EXPECT_EQ(weight.shape(), (mx::Shape{6, 64}));
}

TEST_F(FolderCheckpointTest, AModuleMayBePackedInItsOwnWay) {
  folder_.write("config.json", R"({"quantization": {
      "group_size": 64, "bits": 8, "m": {"group_size": 32, "bits": 4}}})");
  write(quantised_tensors("m"));
  EXPECT_EQ(open()->weights()[0].quantization,
            (Quantization{.bits = 4, .group_size = 32}));
}

TEST_F(FolderCheckpointTest, ADenseModelMayCarrySettingsItDoesNotUse) {
  write({{"m.weight", mx::zeros({2, 64})}});
  EXPECT_FALSE(open()->weights()[0].quantization);
}

TEST_F(FolderCheckpointTest, PartsOfAQuantisedWeightMustFitTogether) {
  const auto whole = quantised_tensors("m");
  const auto with = [&](const std::string& name, const mx::array& values) {
    auto tensors = whole;
    tensors.insert_or_assign(name, values);
    return refusal_of(ErrorCode::mismatch, tensors);
  };
  EXPECT_THAT(with("m.scales", mx::zeros({5, 2})), HasSubstr("does not fit"));
  EXPECT_THAT(with("m.scales", mx::zeros({2})), HasSubstr("does not fit"));
  EXPECT_THAT(with("m.scales", mx::zeros({6, 2, 1})),
              HasSubstr("does not fit"));
  EXPECT_THAT(with("m.biases", mx::zeros({6, 1})),
              HasSubstr("biases of shape [6, 1]"));
  EXPECT_THAT(with("m.biases", mx::zeros({6, 2}, mx::float16)),
              HasSubstr("biases of type F16"));
  EXPECT_THAT(with("m.scales", mx::zeros({6, 2}, mx::uint8)),
              HasSubstr("scales of type U8"));
  EXPECT_THAT(with("m.weight", mx::zeros({6, 8})),
              HasSubstr("type F32 and not U32"));
  EXPECT_THAT(with("m.weight", mx::zeros({6, 7}, mx::uint32)),
              HasSubstr("is not 4 bits in groups of 32"));
}

TEST_F(FolderCheckpointTest, ModesOfBytesHaveNoBiases) {
  folder_.write("config.json", R"({"quantization": {
      "group_size": 32, "bits": 4, "mode": "mxfp4"}})");
  const auto packed = quantize(mx::random::normal({6, 64}, mx::random::key(7)),
                               default_quantization(QuantizationMode::mxfp4));
  const Tensors whole = {{"m.weight", packed.data},
                         {"m.scales", *packed.scales}};
  write(whole);
  const auto checkpoint = open();
  ASSERT_EQ(checkpoint->weights().size(), 1u);
  const auto& info = checkpoint->weights()[0];
  EXPECT_EQ(info.shape, (mx::Shape{6, 64}));
  EXPECT_TRUE(info.dtype == mx::bfloat16);
  EXPECT_EQ(info.quantization, packed.quantization);
  const auto weight = checkpoint->load(info);
  EXPECT_TRUE(same(weight.data, packed.data));
  EXPECT_TRUE(same(*weight.scales, *packed.scales));
  EXPECT_FALSE(weight.biases);

  auto tensors = whole;
  tensors.emplace("m.biases", mx::zeros({6, 2}, mx::uint8));
  EXPECT_THAT(refusal_of(ErrorCode::mismatch, tensors),
              HasSubstr("has biases, which the mode mxfp4 has not"));
  tensors = whole;
  tensors.insert_or_assign("m.scales", mx::zeros({6, 2}));
  EXPECT_THAT(refusal_of(ErrorCode::mismatch, tensors),
              HasSubstr("scales of type F32, and those of the mode mxfp4"));
  tensors.insert_or_assign("m.scales", mx::zeros({6, 4}, mx::uint8));
  EXPECT_THAT(refusal_of(ErrorCode::mismatch, tensors),
              HasSubstr("is not 4 bits in groups of 32"));
}

TEST_F(FolderCheckpointTest, PackedColumnsMustBeThoseOfTheGroups) {
  auto tensors = quantised_tensors("m");
  tensors.insert_or_assign("m.scales", mx::zeros({6, 3}));
  tensors.insert_or_assign("m.biases", mx::zeros({6, 3}));
  EXPECT_THAT(refusal_of(ErrorCode::mismatch, tensors),
              HasSubstr("of shape [6, 8] with scales of shape [6, 3] is not 4 "
                        "bits in groups of 32"));
}

TEST_F(FolderCheckpointTest, AQuantisedWeightNeedsAllItsParts) {
  auto tensors = quantised_tensors("m");
  tensors.erase("m.biases");
  EXPECT_THAT(refusal_of(ErrorCode::mismatch, tensors),
              HasSubstr("has scales and no biases"));
  tensors.erase("m.scales");
  EXPECT_THAT(refusal_of(ErrorCode::unsupported, tensors),
              HasSubstr("has the type U32 of packed weights, but no scales"));
}

TEST_F(FolderCheckpointTest, TheConfigMustSayHowWeightsArePacked) {
  write(quantised_tensors("m"));
  folder_.write("config.json", "{}");
  EXPECT_THAT(refusal(ErrorCode::mismatch),
              HasSubstr("config.json: the weight of m is quantised"));
  folder_.write("config.json",
                R"({"quantization": {"group_size": 64, "bits": 4}})");
  EXPECT_THAT(refusal(ErrorCode::mismatch),
              HasSubstr("is not 4 bits in groups of 64"));
}

TEST_F(FolderCheckpointTest, OtherTypesAreRefusedByTensorAndType) {
  EXPECT_THAT(refusal_of(ErrorCode::unsupported,
                         {{"m.weight", mx::zeros({2}, mx::int32)}}),
              HasSubstr("has the type I32"));
}

TEST_F(FolderCheckpointTest, RotaryFrequenciesAreLeftOut) {
  write({{"layers.0.rotary_emb.inv_freq", mx::zeros({4})},
         {"a", mx::zeros({2})}});
  const auto checkpoint = open();
  ASSERT_EQ(checkpoint->weights().size(), 1u);
  EXPECT_EQ(checkpoint->weights()[0].name, "a");
  EXPECT_THAT(checkpoint->notices(), IsEmpty());
}

TEST_F(FolderCheckpointTest, AMissingConfigIsNamed) {
  write({{"a", mx::zeros({2})}});
  fs::remove(folder_.path() / "config.json");
  EXPECT_THAT(refusal(ErrorCode::not_found),
              HasSubstr("config.json: is missing"));
}

TEST_F(FolderCheckpointTest, ADamagedConfigIsNamed) {
  write({{"a", mx::zeros({2})}});
  folder_.write("config.json", "{\"model_type\": ");
  EXPECT_THAT(refusal(ErrorCode::corrupt_file),
              HasSubstr("config.json: is not valid JSON"));
}

TEST_F(FolderCheckpointTest, AnotherFormatIsToldBeforeTheMissingConfig) {
  fs::remove(folder_.path() / "config.json");
  folder_.write("consolidated.00.pth", "x");
  folder_.write("params.json", "{}");
  EXPECT_THAT(refusal(ErrorCode::unsupported),
              HasSubstr("consolidated.00.pth"));
}

TEST_F(FolderCheckpointTest, FindsTheFilesBesideTheWeights) {
  write({{"a", mx::zeros({2})}});
  for (const std::string name :
       {"tokenizer.json", "tokenizer_config.json", "generation_config.json",
        "qwen.tiktoken", "tekken.json", "tokenizer.model.v3",
        "chat_template.jinja", "README.md", "model.py"}) {
    folder_.write(name, "x");
  }
  std::vector<std::string> names;
  for (const auto& file : open()->side_files()) {
    names.push_back(file.name);
    EXPECT_EQ(file.source, folder_.path() / file.name);
    EXPECT_EQ(file.content, "");
  }
  EXPECT_THAT(names,
              ElementsAre("chat_template.jinja", "generation_config.json",
                          "qwen.tiktoken", "tekken.json", "tokenizer.json",
                          "tokenizer.model.v3", "tokenizer_config.json"));
}

TEST_F(FolderCheckpointTest, TellsWhichFilesItsWeightsAreReadFrom) {
  write({{"a", mx::zeros({2})}});
  // Not one of them: the single file counts.
  folder_.write("other.safetensors", "");
  EXPECT_THAT(open()->weight_files(),
              ElementsAre(folder_.path() / "model.safetensors"));
}

TEST_F(FolderCheckpointTest, OnlyWeightsOfTheListAreLoaded) {
  write({{"a", mx::zeros({2})}});
  EXPECT_THROW(open()->load({"b", {2}, mx::float32}), std::invalid_argument);
}

TEST_F(FolderCheckpointTest, PathsAreToldApartByWhatIsThere) {
  write({{"a", mx::zeros({2})}});
  EXPECT_EQ(Checkpoint::open(folder_.path())->format(), "safetensors");
  const auto refused = [](ErrorCode code, const fs::path& path) {
    return error_of(code, [&] { Checkpoint::open(path); });
  };
  EXPECT_THAT(refused(ErrorCode::not_found, folder_.path() / "absent"),
              HasSubstr("absent: does not exist; give a folder"));
  EXPECT_THAT(refused(ErrorCode::not_found, ""), HasSubstr("does not exist"));
  EXPECT_THAT(
      refused(ErrorCode::unsupported, folder_.path() / "model.safetensors"),
      HasSubstr("give the folder that holds both"));
  EXPECT_THAT(refused(ErrorCode::unsupported, folder_.write("notes", "x")),
              HasSubstr("notes: is not a GGUF file"));
  const testing::TemporaryFolder empty;
  EXPECT_THAT(refused(ErrorCode::not_found, empty.path()),
              HasSubstr("holds no weights"));
}

TEST_F(FolderCheckpointTest, AFolderOfOneGgufFileIsThatFile) {
  const testing::TemporaryFolder other;
  const auto opened = [&] {
    return error_of(ErrorCode::corrupt_file,
                    [&] { Checkpoint::open(other.path()); });
  };
  other.write("one.gguf", "GGUF");
  EXPECT_THAT(opened(), HasSubstr("one.gguf"));
  other.write("two.gguf", "GGUF");
  EXPECT_THAT(
      error_of(ErrorCode::unsupported, [&] { Checkpoint::open(other.path()); }),
      HasSubstr("holds several GGUF files"));
}

TEST_F(FolderCheckpointTest, ADamagedGgufFileIsToldAsOne) {
  const auto file = folder_.write("x.gguf", "");
  EXPECT_THAT(
      error_of(ErrorCode::corrupt_file, [&] { Checkpoint::open(file); }),
      HasSubstr("x.gguf"));
}

}  // namespace
}  // namespace llamlx
