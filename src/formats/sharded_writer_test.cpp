#include "formats/sharded_writer.h"

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/json.h"
#include "base/testing.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::names_in;
using testing::TemporaryFolder;

constexpr int kTensors = 5;

/// Tensor `index` holds 10 floats: 40 bytes.
mx::array values_of(int index) {
  auto values = mx::full({2, 5}, static_cast<float>(index));
  values.eval();
  return values;
}

std::vector<PlannedTensor> plan() {
  std::vector<PlannedTensor> tensors;
  for (int i = 0; i < kTensors; ++i) {
    tensors.push_back({concat("t", i), mx::float32, {2, 5}});
  }
  return tensors;
}

void write_all(const fs::path& folder, std::uint64_t max_shard_bytes) {
  ShardedWriter writer(folder, plan(), 1234, max_shard_bytes);
  for (int i = 0; i < kTensors; ++i) {
    writer.append(concat("t", i), values_of(i));
  }
  writer.finish();
}

Json index_of(const fs::path& folder) {
  return read_json_file(folder / "model.safetensors.index.json");
}

TEST(ShardedWriterTest, OneShardIsCalledModel) {
  const TemporaryFolder folder;
  write_all(folder.path(), ShardedWriter::kMaxShardBytes);
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("model.safetensors", "model.safetensors.index.json"));
  const auto index = index_of(folder.path());
  EXPECT_EQ(index.at("metadata"),
            Json({{"total_size", 200}, {"total_parameters", 1234}}));
  EXPECT_EQ(index.at("weight_map").size(), 5u);
  EXPECT_EQ(index.at("weight_map").at("t3"), "model.safetensors");
}

TEST(ShardedWriterTest, SplitsBetweenTensorsAtTheLimit) {
  const TemporaryFolder folder;
  write_all(folder.path(), 80);
  EXPECT_THAT(names_in(folder.path()),
              ElementsAre("model-00001-of-00003.safetensors",
                          "model-00002-of-00003.safetensors",
                          "model-00003-of-00003.safetensors",
                          "model.safetensors.index.json"));
  const auto map = index_of(folder.path()).at("weight_map");
  for (int i = 0; i < kTensors; ++i) {
    const auto shard = map.at(concat("t", i)).get<std::string>();
    EXPECT_EQ(shard, concat("model-0000", i / 2 + 1, "-of-00003.safetensors"));
    const auto arrays = mx::load_safetensors((folder.path() / shard).string());
    const auto& read = arrays.first.at(concat("t", i));
    EXPECT_TRUE(mx::array_equal(read, values_of(i)).item<bool>());
  }
}

TEST(ShardedWriterTest, ATensorBeyondTheLimitHasAShardOfItsOwn) {
  const TemporaryFolder folder;
  write_all(folder.path(), 1);
  EXPECT_EQ(names_in(folder.path()).size(), 6u);
  EXPECT_EQ(index_of(folder.path()).at("weight_map").at("t4"),
            "model-00005-of-00005.safetensors");
}

TEST(ShardedWriterTest, CountsTheBytesOfThePlan) {
  const TemporaryFolder folder;
  EXPECT_EQ(ShardedWriter(folder.path(), plan(), 50).total_size(), 200u);
}

TEST(ShardedWriterTest, RefusesWhatThePlanDoesNotSay) {
  const TemporaryFolder folder;
  auto twice = plan();
  twice.push_back(twice.front());
  EXPECT_THROW(ShardedWriter(folder.path(), twice, 1, 40),
               std::invalid_argument);
  EXPECT_THROW(ShardedWriter(folder.path(), {}, 1), std::invalid_argument);
  ShardedWriter writer(folder.path(), plan(), 1, 40);
  EXPECT_THROW(writer.append("t1", values_of(1)), std::invalid_argument);
  for (int i = 0; i < kTensors; ++i) {
    EXPECT_THROW(writer.finish(), std::invalid_argument);
    writer.append(concat("t", i), values_of(i));
  }
  EXPECT_THROW(writer.append("t5", values_of(5)), std::invalid_argument);
  writer.finish();
}

TEST(ShardedWriterTest, AFullDiskInTheSecondShardIsNoSpace) {
  const TemporaryFolder folder;
  const auto small = values_of(0);
  auto large = mx::zeros({1000});
  large.eval();
  const auto write = [&] {
    ShardedWriter writer(
        folder.path(), {{"a", mx::float32, {2, 5}}, {"b", mx::float32, {1000}}},
        1010, 100);
    writer.append("a", small);
    writer.append("b", large);
    writer.finish();
  };
  const auto message =
      testing::error_in_child([] { testing::limit_file_size(2000); }, write);
  EXPECT_THAT(message,
              HasSubstr(concat(static_cast<int>(ErrorCode::no_space), " ")));
  EXPECT_THAT(message, HasSubstr("model-00002-of-00002.safetensors"));
}

}  // namespace
}  // namespace llamlx
