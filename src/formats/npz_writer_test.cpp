#include "formats/npz_writer.h"

#include <cstdint>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/npz_reader.h"
#include "formats/zip_reader.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using testing::names_in;
using testing::read_bytes;
using testing::TemporaryFolder;

struct Named {
  std::string name;
  mx::array values;
};

std::vector<PlannedTensor> plan_of(const std::vector<Named>& tensors) {
  std::vector<PlannedTensor> plan;
  for (const auto& [name, values] : tensors) {
    plan.push_back({name, values.dtype(), values.shape()});
  }
  return plan;
}

void write(const fs::path& path, const std::vector<Named>& tensors) {
  NpzWriter writer(path, plan_of(tensors));
  for (const auto& [name, values] : tensors) writer.append(name, values);
  writer.finish();
}

/// Not in the order of their names, with lengths and a name that need padding.
std::vector<Named> sample() {
  const auto matrix = mx::reshape(mx::arange(15), {3, 5});
  return {{"b", mx::array({1, 2, 3}, mx::uint8)},
          {"a", mx::astype(matrix, mx::bfloat16)},
          {"scalar", mx::array(7.0f)},
          {"empty", mx::zeros({3, 0})},
          {"view", mx::transpose(matrix)},
          {"gr\xc3\xb6\xc3\x9f"
           "e",
           mx::array({true, false})}};
}

class NpzWriterTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path path_ = folder_.path() / "x.npz";
};

TEST_F(NpzWriterTest, OurReaderReadsBackWhatWasWritten) {
  write(path_, sample());
  const NpzFile file(path_);
  EXPECT_EQ(file.tensors().size(), sample().size());
  for (const auto& [name, values] : sample()) {
    const auto* entry = file.find(name);
    ASSERT_NE(entry, nullptr) << name;
    const auto read = file.read(*entry);
    EXPECT_TRUE(read.dtype() == values.dtype()) << name;
    EXPECT_EQ(read.shape(), values.shape()) << name;
    EXPECT_TRUE(mx::array_equal(read, values).item<bool>()) << name;
  }
}

TEST_F(NpzWriterTest, ValuesCanBeMapped) {
  write(path_, sample());
  const ZipFile archive(path_);
  for (const auto& entry : archive.entries()) {
    EXPECT_TRUE(entry.is_stored) << entry.name;
    EXPECT_EQ(entry.data_begin % 64, 0u) << entry.name;
    archive.check_crc(entry);
  }
}

TEST_F(NpzWriterTest, TheSameTensorsGiveTheSameBytes) {
  write(path_, sample());
  write(folder_.path() / "y.npz", sample());
  EXPECT_EQ(read_bytes(path_), read_bytes(folder_.path() / "y.npz"));
}

TEST_F(NpzWriterTest, WritesAnArchiveOfNothing) {
  write(path_, {});
  EXPECT_TRUE(NpzFile(path_).tensors().empty());
}

TEST_F(NpzWriterTest, WritesMoreTensorsThanSixteenBitsCount) {
  constexpr int kTensors = 65540;
  std::vector<PlannedTensor> plan;
  for (int i = 0; i < kTensors; ++i) plan.push_back({concat(i), mx::uint8, {}});
  const auto value = mx::array(7, mx::uint8);
  NpzWriter writer(path_, plan);
  for (const auto& tensor : plan) writer.append(tensor.name, value);
  writer.finish();
  const ZipFile archive(path_);
  EXPECT_EQ(archive.entries().size(), std::size_t{kTensors});
}

TEST_F(NpzWriterTest, BlocksOfRowsGiveTheSameBytes) {
  write(path_, sample());
  NpzWriter writer(folder_.path() / "y.npz", plan_of(sample()));
  for (const auto& [name, values] : sample()) {
    if (values.ndim() < 2) {
      writer.append(name, values);
      continue;
    }
    for (int row = 0; row < values.shape(0); ++row) {
      writer.append_rows(
          name, mx::slice(values, {row, 0}, {row + 1, values.shape(1)}));
    }
  }
  writer.finish();
  EXPECT_EQ(read_bytes(path_), read_bytes(folder_.path() / "y.npz"));
}

TEST_F(NpzWriterTest, RefusesNamesAndShapesThatCannotBeWritten) {
  const auto plan = [&](const std::string& name, const mx::Shape& shape) {
    NpzWriter writer(path_, {{name, mx::float32, shape}});
  };
  plan(std::string(65531, 'x'), {1});
  EXPECT_THROW(plan(std::string(65532, 'x'), {1}), std::invalid_argument);
  EXPECT_THROW(plan(std::string("a\0b", 3), {1}), std::invalid_argument);
  EXPECT_THROW(plan("\xff", {1}), std::invalid_argument);
  EXPECT_THROW(plan("a", mx::Shape(30000, 1)), std::invalid_argument);
}

TEST_F(NpzWriterTest, AFullDiskIsNoSpace) {
  auto values = mx::zeros({1000});
  values.eval();
  const auto message =
      testing::error_in_child([] { testing::limit_file_size(2000); },
                              [&] {
                                write(path_, {{"t", values}});
                              });
  EXPECT_THAT(message, HasSubstr(concat(static_cast<int>(ErrorCode::no_space),
                                        " ", path_.string())));
}

TEST_F(NpzWriterTest, AFolderThatCannotBeWrittenIsAnIoError) {
  const auto message =
      testing::error_in_child(testing::without_privileges, [&] {
        NpzWriter writer(path_, {{"t", mx::float32, {1}}});
      });
  EXPECT_THAT(message, HasSubstr("cannot create (Permission denied)"));
}

TEST_F(NpzWriterTest, OneShardIsCalledWeights) {
  ShardedNpzWriter writer(folder_.path(), plan_of(sample()));
  for (const auto& [name, values] : sample()) writer.append(name, values);
  writer.finish();
  EXPECT_THAT(names_in(folder_.path()), ElementsAre("weights.npz"));
}

TEST_F(NpzWriterTest, ShardsAreNumberedFromZeroAndNeverEmpty) {
  const auto values = mx::zeros({2, 5});
  ShardedNpzWriter writer(folder_.path(),
                          {{"large", mx::float32, {100}},
                           {"a", mx::float32, {2, 5}},
                           {"b", mx::float32, {2, 5}},
                           {"c", mx::float32, {2, 5}}},
                          80);
  writer.append("large", mx::zeros({100}));
  for (const auto* name : {"a", "b", "c"}) writer.append_rows(name, values);
  writer.finish();
  EXPECT_THAT(
      names_in(folder_.path()),
      ElementsAre("weights.00.npz", "weights.01.npz", "weights.02.npz"));
  EXPECT_EQ(NpzFile(folder_.path() / "weights.00.npz").tensors().size(), 1u);
  EXPECT_NE(NpzFile(folder_.path() / "weights.01.npz").find("b"), nullptr);
  EXPECT_NE(NpzFile(folder_.path() / "weights.02.npz").find("c"), nullptr);
}

}  // namespace
}  // namespace llamlx
