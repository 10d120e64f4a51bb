#include "formats/safetensors_writer.h"

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <limits>
#include <stdexcept>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/io.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/safetensors_reader.h"
#include "tensor/weight.h"

namespace llamlx {
namespace {

namespace fs = std::filesystem;
using testing::error_in_child;
using testing::error_of;
using ::testing::HasSubstr;
using testing::read_bytes;
using testing::TemporaryFolder;

struct Named {
  std::string name;
  mx::array values;
};

void write(const fs::path& path, const std::vector<Named>& tensors) {
  std::vector<PlannedTensor> plan;
  for (const auto& [name, values] : tensors) {
    plan.push_back({name, values.dtype(), values.shape()});
  }
  SafetensorsWriter writer(path, plan);
  for (const auto& [name, values] : tensors) writer.append(name, values);
  writer.finish();
}

/// Two tensors, not in the order of their names, the first 3 bytes long.
std::vector<Named> sample() {
  return {{"b", mx::array({1, 2, 3}, mx::uint8)},
          {"a", mx::astype(mx::reshape(mx::arange(6), {2, 3}), mx::bfloat16)}};
}

TEST(SafetensorsWriterTest, WritesExactlyTheBytesOfTheFormat) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  write(path, {{"b", mx::array({1, 2, 3}, mx::uint8)},
               {"a", mx::array({1.0f, -2.0f})}});
  std::string header =
      R"({"__metadata__":{"format":"mlx"},)"
      R"("a":{"data_offsets":[3,11],"dtype":"F32","shape":[2]},)"
      R"("b":{"data_offsets":[0,3],"dtype":"U8","shape":[3]}})";
  while ((8 + header.size()) % 64 != 0) header += ' ';
  std::string length(8, '\0');
  length[0] = static_cast<char>(header.size());
  EXPECT_EQ(read_bytes(path),
            length + header + std::string("\1\2\3\0\0\x80\x3f\0\0\0\xc0", 11));
}

TEST(SafetensorsWriterTest, MlxReadsBackWhatWasWritten) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  auto tensors = sample();
  tensors.push_back({"half", mx::astype(mx::array({0.1f}), mx::float16)});
  tensors.push_back({"scalar", mx::array(7.0f)});
  tensors.push_back({"empty", mx::zeros({3, 0})});
  tensors.push_back({"packed", mx::array({1u, 0xffffffffu}, mx::uint32)});
  write(path, tensors);
  const auto [arrays, metadata] = mx::load_safetensors(path.string());
  EXPECT_EQ(metadata.at("format"), "mlx");
  ASSERT_EQ(arrays.size(), tensors.size());
  for (const auto& [name, values] : tensors) {
    const auto& read = arrays.at(name);
    EXPECT_TRUE(read.dtype() == values.dtype()) << name;
    EXPECT_EQ(read.shape(), values.shape()) << name;
    EXPECT_TRUE(mx::array_equal(read, values).item<bool>()) << name;
  }
}

TEST(SafetensorsWriterTest, OurReaderReadsBackWhatWasWritten) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  write(path, sample());
  const SafetensorsFile file(path);
  EXPECT_EQ(file.metadata().at("format"), "mlx");
  for (const auto& [name, values] : sample()) {
    const auto read = file.read(*file.find(name));
    EXPECT_TRUE(mx::array_equal(read, values).item<bool>()) << name;
  }
}

TEST(SafetensorsWriterTest, WritesViewsInTheOrderOfTheirRows) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const auto matrix = mx::reshape(mx::arange(12, mx::float32), {3, 4});
  const std::vector<Named> views = {
      {"transposed", mx::transpose(matrix)},
      {"column", mx::slice(matrix, {0, 1}, {3, 2})},
      {"row", mx::slice(matrix, {1, 0}, {2, 4})},
      {"broadcast", mx::broadcast_to(mx::array(2.5f), {2, 2})}};
  write(path, views);
  const SafetensorsFile file(path);
  for (const auto& [name, values] : views) {
    const auto read = file.read(*file.find(name));
    EXPECT_TRUE(mx::array_equal(read, values).item<bool>()) << name;
  }
}

TEST(SafetensorsWriterTest, TheSameTensorsGiveTheSameBytes) {
  const TemporaryFolder folder;
  write(folder.path() / "one", sample());
  write(folder.path() / "two", sample());
  EXPECT_EQ(read_bytes(folder.path() / "one"),
            read_bytes(folder.path() / "two"));
}

TEST(SafetensorsWriterTest, KeepsTheBitsOfNansAndSignedZeros) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const std::uint32_t bits[] = {0x7fc00001, 0xffc12345, 0x80000000, 0x00000001};
  const auto values = mx::view(mx::array(bits, {4}, mx::uint32), mx::float32);
  write(path, {{"t", values}});
  const SafetensorsFile file(path);
  const auto read = file.read(*file.find("t"));
  EXPECT_EQ(std::memcmp(read.data<float>(), bits, sizeof bits), 0);
}

TEST(SafetensorsWriterTest, RefusesTensorsThatAreNotNextInThePlan) {
  const TemporaryFolder folder;
  const auto one = mx::array({1.0f, 2.0f});
  SafetensorsWriter writer(folder.path() / "x",
                           {{"a", mx::float32, {2}}, {"b", mx::float32, {2}}});
  EXPECT_THROW(writer.append("b", one), std::invalid_argument);
  EXPECT_THROW(writer.append("a", mx::astype(one, mx::float16)),
               std::invalid_argument);
  EXPECT_THROW(writer.append("a", mx::reshape(one, {2, 1})),
               std::invalid_argument);
  writer.append("a", one);
  EXPECT_THROW(writer.append("a", one), std::invalid_argument);
  EXPECT_THROW(writer.finish(), std::invalid_argument);
  writer.append("b", one);
  EXPECT_THROW(writer.append("c", one), std::invalid_argument);
  writer.finish();
}

TEST(SafetensorsWriterTest, RefusesPlansThatCannotBeWritten) {
  const TemporaryFolder folder;
  const auto plan = [&](std::vector<PlannedTensor> tensors) {
    SafetensorsWriter writer(folder.path() / "x", std::move(tensors));
  };
  EXPECT_THROW(plan({{"a", mx::float32, {1}}, {"a", mx::float32, {1}}}),
               std::invalid_argument);
  EXPECT_THROW(plan({{"__metadata__", mx::float32, {1}}}),
               std::invalid_argument);
  EXPECT_THROW(plan({{"a", mx::float64, {1}}}), std::invalid_argument);
  EXPECT_THROW(plan({{"a", mx::float32, {-1}}}), std::invalid_argument);
  EXPECT_THROW(plan({{"\xff", mx::float32, {1}}}), std::invalid_argument);
}

TEST(SafetensorsWriterTest, AFullDiskIsNoSpace) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  auto values = mx::zeros({1000});
  values.eval();
  const auto message = error_in_child([] { testing::limit_file_size(2000); },
                                      [&] {
                                        write(path, {{"t", values}});
                                      });
  EXPECT_THAT(message, HasSubstr(concat(static_cast<int>(ErrorCode::no_space),
                                        " ", path.string())));
}

TEST(SafetensorsWriterTest, AFolderThatCannotBeWrittenIsAnIoError) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "x.safetensors";
  const auto message = error_in_child(testing::without_privileges, [&] {
    SafetensorsWriter writer(path, {{"t", mx::float32, {1}}});
  });
  EXPECT_THAT(message, HasSubstr("cannot create (Permission denied)"));
}

}  // namespace
}  // namespace llamlx
