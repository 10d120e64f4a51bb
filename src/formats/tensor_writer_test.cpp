#include "formats/tensor_writer.h"

#include <stdexcept>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"
#include "formats/safetensors_reader.h"
#include "formats/safetensors_writer.h"
#include "formats/sharded_writer.h"

namespace llamlx {
namespace {

using testing::read_bytes;
using testing::TemporaryFolder;

mx::array matrix() { return mx::reshape(mx::arange(12), {4, 3}); }

mx::array rows(int begin, int end) {
  return mx::slice(matrix(), {begin, 0}, {end, 3});
}

std::vector<PlannedTensor> plan() {
  return {{"a", mx::int32, {4, 3}},
          {"none", mx::int32, {0, 3}},
          {"b", mx::int32, {4, 3}},
          {"scalar", mx::int32, {}}};
}

void write_whole(TensorWriter& writer) {
  writer.append("a", matrix());
  writer.append("none", rows(0, 0));
  writer.append("b", matrix());
  writer.append("scalar", mx::array(7));
  writer.finish();
}

void write_in_blocks(TensorWriter& writer) {
  writer.append_rows("a", rows(0, 3));
  writer.append_rows("a", rows(3, 3));
  writer.append_rows("a", rows(3, 4));
  writer.append_rows("none", rows(0, 0));
  writer.append_rows("b", matrix());
  writer.append("scalar", mx::array(7));
  writer.finish();
}

class TensorWriterTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
};

TEST_F(TensorWriterTest, BlocksOfRowsGiveTheSameBytes) {
  SafetensorsWriter whole(folder_.path() / "one", plan());
  write_whole(whole);
  SafetensorsWriter blocks(folder_.path() / "two", plan());
  write_in_blocks(blocks);
  EXPECT_EQ(read_bytes(folder_.path() / "one"),
            read_bytes(folder_.path() / "two"));
}

TEST_F(TensorWriterTest, ShardsTakeBlocksOfRows) {
  ShardedWriter writer(folder_.path(), plan(), 25, 48);
  write_in_blocks(writer);
  const SafetensorsFile second(folder_.path() /
                               "model-00002-of-00003.safetensors");
  const auto read = second.read(*second.find("b"));
  EXPECT_TRUE(mx::array_equal(read, matrix()).item<bool>());
}

TEST_F(TensorWriterTest, RefusesRowsThatAreNotNext) {
  SafetensorsWriter writer(folder_.path() / "x", plan());
  const auto refuses = [&](const char* name, const mx::array& block) {
    EXPECT_THROW(writer.append_rows(name, block), std::invalid_argument);
  };
  refuses("b", rows(0, 1));
  refuses("a", mx::astype(rows(0, 1), mx::float32));
  refuses("a", mx::zeros({1, 2}, mx::int32));
  refuses("a", mx::zeros({3}, mx::int32));
  refuses("a", mx::array(1));
  refuses("a", mx::zeros({5, 3}, mx::int32));
  writer.append_rows("a", rows(0, 2));
  refuses("a", rows(0, 3));
  refuses("none", rows(0, 0));
  EXPECT_THROW(writer.append("a", matrix()), std::invalid_argument);
  EXPECT_THROW(writer.finish(), std::invalid_argument);
  writer.append_rows("a", rows(2, 4));
  writer.append("none", rows(0, 0));
  writer.append("b", matrix());
  refuses("scalar", mx::array(7));
  writer.append("scalar", mx::array(7));
  refuses("a", matrix());
  writer.finish();
}

TEST_F(TensorWriterTest, AShardIsNotFinishedInTheMiddleOfATensor) {
  ShardedWriter writer(folder_.path(), plan(), 25, 48);
  writer.append_rows("a", rows(0, 2));
  EXPECT_THROW(writer.finish(), std::invalid_argument);
  EXPECT_FALSE(
      std::filesystem::exists(folder_.path() / "model.safetensors.index.json"));
}

}  // namespace
}  // namespace llamlx
