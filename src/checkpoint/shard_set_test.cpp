#include "checkpoint/shard_set.h"

#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/json.h"
#include "base/testing.h"
#include "formats/safetensors_writer.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;
using testing::error_of;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ShardSetTest : public ::testing::Test {
 protected:
  /// Writes a file of scalars that all hold `value`.
  void write(const std::string& file, const std::vector<std::string>& names,
             float value = 0) const {
    std::vector<PlannedTensor> plan;
    for (const auto& name : names) plan.push_back({name, mx::float32, {}});
    SafetensorsWriter writer(folder_.path() / file, plan);
    for (const auto& name : names) writer.append(name, mx::array(value));
    writer.finish();
  }

  void write_index(const Json& weight_map) const {
    write_json_file(folder_.path() / "model.safetensors.index.json",
                    {{"weight_map", weight_map}});
  }

  std::string refusal(ErrorCode code) const {
    return error_of(code, [&] { ShardSet shards(folder_.path()); });
  }

  std::vector<std::string> names() const {
    std::vector<std::string> all;
    const ShardSet shards(folder_.path());
    for (const auto& entry : shards.tensors()) all.push_back(entry.first);
    return all;
  }

  testing::TemporaryFolder folder_;
};

TEST_F(ShardSetTest, ReadsTheShardsTheIndexNames) {
  write("x-1.safetensors", {"b", "d"}, 1);
  write("x-2.safetensors", {"a", "c"}, 2);
  write_index({{"a", "x-2.safetensors"},
               {"b", "x-1.safetensors"},
               {"c", "x-2.safetensors"},
               {"d", "x-1.safetensors"}});
  const ShardSet shards(folder_.path());
  EXPECT_THAT(names(), ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(find(shards.tensors(), "a")->read().item<float>(), 2);
  EXPECT_EQ(find(shards.tensors(), "b")->read().item<float>(), 1);
  EXPECT_EQ(find(shards.tensors(), "e"), nullptr);
  EXPECT_THAT(shards.notices(), IsEmpty());
  EXPECT_THAT(shards.files(),
              ::testing::ElementsAre(folder_.path() / "x-1.safetensors",
                                     folder_.path() / "x-2.safetensors"));
}

TEST_F(ShardSetTest, TheIndexDecidesWhichOfTwoTensorsCounts) {
  write("x-1.safetensors", {"a", "b"}, 1);
  write("x-2.safetensors", {"a", "c"}, 2);
  write_index({{"a", "x-2.safetensors"}, {"b", "x-1.safetensors"}});
  const ShardSet shards(folder_.path());
  EXPECT_EQ(find(shards.tensors(), "a")->read().item<float>(), 2);
  EXPECT_EQ(find(shards.tensors(), "c"), nullptr);
  EXPECT_THAT(
      shards.notices(),
      ElementsAre("x-1.safetensors: tensors that the index does not place "
                  "there are ignored: 1, the first is a",
                  "x-2.safetensors: tensors that the index does not place "
                  "there are ignored: 1, the first is c"));
}

TEST_F(ShardSetTest, FilesTheIndexDoesNotNameAreStrays) {
  write("model.safetensors", {"a"}, 1);
  write("model-00001-of-00002.safetensors", {"a"}, 2);
  write_index({{"a", "model.safetensors"}});
  const ShardSet shards(folder_.path());
  EXPECT_EQ(find(shards.tensors(), "a")->read().item<float>(), 1);
  EXPECT_THAT(
      shards.notices(),
      ElementsAre("model-00001-of-00002.safetensors: does not belong to "
                  "model.safetensors.index.json; ignored"));
}

TEST_F(ShardSetTest, AMissingShardIsNamedWithItsFolder) {
  write("model-00001-of-00002.safetensors", {"a"});
  write_index({{"a", "model-00001-of-00002.safetensors"},
               {"b", "model-00002-of-00002.safetensors"}});
  const auto message = refusal(ErrorCode::not_found);
  EXPECT_THAT(message, HasSubstr(folder_.path().string() + ": the shard "));
  EXPECT_THAT(message, HasSubstr("model-00002-of-00002.safetensors"));
}

TEST_F(ShardSetTest, AShardThatLacksItsTensorIsNamedWithIt) {
  write("model.safetensors", {"a"});
  write_index({{"a", "model.safetensors"}, {"b", "model.safetensors"}});
  EXPECT_THAT(refusal(ErrorCode::mismatch),
              HasSubstr("model.safetensors: does not hold b"));
}

TEST_F(ShardSetTest, ShardNamesThatLeadOutOfTheFolderAreRefused) {
  write("model.safetensors", {"a"});
  for (const std::string shard :
       {"../model.safetensors", "sub/model.safetensors", "/model.safetensors",
        "a\\b.safetensors", "..safetensors", "..", "", "model.bin"}) {
    write_index({{"a", shard}});
    EXPECT_THAT(refusal(ErrorCode::corrupt_file),
                HasSubstr(concat("names the shard \"", shard, "\"")));
  }
}

TEST_F(ShardSetTest, ADamagedIndexIsToldAndNotPassedOver) {
  write("model.safetensors", {"a"});
  const auto refused = [&](const std::string& index) {
    folder_.write("model.safetensors.index.json", index);
    const auto message = refusal(ErrorCode::corrupt_file);
    EXPECT_THAT(message, HasSubstr("model.safetensors.index.json"));
    return message;
  };
  EXPECT_THAT(refused(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(refused("{}"), HasSubstr("no \"weight_map\""));
  EXPECT_THAT(refused(R"({"weight_map": []})"), HasSubstr("no \"weight_map\""));
  EXPECT_THAT(refused(R"({"weight_map": {}})"), HasSubstr("no \"weight_map\""));
  EXPECT_THAT(refused(R"({"weight_map": {"a": 1}})"),
              HasSubstr("the shard of a is not a string"));
  EXPECT_THAT(refused(R"({"weight_map": {"a": "model.safetensors",
                                         "a": "model.safetensors"}})"),
              HasSubstr("names \"a\" twice"));
}

TEST_F(ShardSetTest, WithoutAnIndexTheSingleFileCounts) {
  write("model.safetensors", {"a"});
  write("adapters.safetensors", {"a"});
  EXPECT_THAT(names(), ElementsAre("a"));
  EXPECT_THAT(ShardSet(folder_.path()).notices(),
              ElementsAre(HasSubstr("adapters.safetensors: does not belong")));
}

TEST_F(ShardSetTest, WithoutAnIndexAllShardsCountTogether) {
  write("model-00001-of-00002.safetensors", {"a"});
  write("model-00002-of-00002.safetensors", {"b"});
  write("adapters.safetensors", {"a"});
  EXPECT_THAT(names(), ElementsAre("a", "b"));
  EXPECT_EQ(ShardSet(folder_.path()).notices().size(), 1u);
}

TEST_F(ShardSetTest, WithoutAnIndexAnyNameWillDo) {
  write("weights-b.safetensors", {"b"});
  write("weights-a.safetensors", {"a"});
  EXPECT_THAT(names(), ElementsAre("a", "b"));
}

TEST_F(ShardSetTest, ShardsThatCountThemselvesMustBeComplete) {
  write("model-00001-of-00003.safetensors", {"a"});
  write("model-00003-of-00003.safetensors", {"b"});
  EXPECT_THAT(refusal(ErrorCode::not_found),
              HasSubstr("model-00002-of-00003.safetensors: is missing"));
}

TEST_F(ShardSetTest, OneNameInTwoFilesIsRefused) {
  write("weights-1.safetensors", {"a"});
  write("weights-2.safetensors", {"a"});
  EXPECT_THAT(refusal(ErrorCode::mismatch),
              HasSubstr("weights-2.safetensors: holds a, which is in "
                        "weights-1.safetensors too"));
}

TEST_F(ShardSetTest, AFolderOfAnotherFormatIsNamedForWhatItIs) {
  EXPECT_THAT(refusal(ErrorCode::not_found), HasSubstr("holds no weights"));
  for (const std::string file :
       {"consolidated.00.pth", "optimizer.bin", "weights.h5"}) {
    const testing::TemporaryFolder other;
    other.write(file, "x");
    EXPECT_THAT(error_of(ErrorCode::unsupported,
                         [&] { ShardSet shards(other.path()); }),
                HasSubstr("holds its weights as " + file));
  }
  folder_.write("model.gguf", "GGUF");
  EXPECT_THAT(refusal(ErrorCode::unsupported),
              HasSubstr("give the path of that file itself"));
}

TEST_F(ShardSetTest, ADamagedShardIsNamed) {
  write("model-00001-of-00002.safetensors", {"a"});
  folder_.write("model-00002-of-00002.safetensors", "x");
  EXPECT_THAT(refusal(ErrorCode::corrupt_file),
              HasSubstr("model-00002-of-00002.safetensors: is too short"));
}

}  // namespace
}  // namespace llamlx
