#include "formats/mapped_array.h"

#include <bit>
#include <memory>
#include <string>

#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/testing.h"

namespace llamlx {
namespace {

class MappedArrayTest : public ::testing::Test {
 protected:
  /// A file of `padding` bytes and then the floats 0, 1, 2, ...
  std::shared_ptr<const MappedFile> file_of(std::size_t padding,
                                            int count) const {
    std::string bytes(padding, 'x');
    for (int i = 0; i < count; ++i) {
      const auto value = static_cast<float>(i);
      const auto* raw = reinterpret_cast<const char*>(&value);
      bytes.append(raw, sizeof value);
    }
    return std::make_shared<MappedFile>(folder_.write("x", bytes));
  }

  testing::TemporaryFolder folder_;
};

TEST_F(MappedArrayTest, StandsOnTheMappingWhereItIsAligned) {
  const auto file = file_of(16, 6);
  const auto bytes = file->bytes().subspan(16);
  const auto array = mapped_array(file, bytes, {2, 3}, mx::float32);
  EXPECT_TRUE(mx::array_equal(array, mx::reshape(mx::arange(6.0f), {2, 3}))
                  .item<bool>());
  if (mx::is_available(mx::Device(mx::Device::gpu))) {
    GTEST_SKIP() << "a GPU has memory of its own";
  }
  EXPECT_EQ(static_cast<const void*>(array.data<float>()), bytes.data());
}

TEST_F(MappedArrayTest, CopiesWhatIsNotAligned) {
  for (const std::size_t padding : {std::size_t{0}, std::size_t{9}}) {
    const auto file = file_of(padding, 6);
    const auto bytes = file->bytes().subspan(padding);
    const auto array = mapped_array(file, bytes, {6}, mx::float32);
    EXPECT_NE(static_cast<const void*>(array.data<float>()), bytes.data());
    EXPECT_TRUE(mx::array_equal(array, mx::arange(6.0f)).item<bool>());
  }
}

TEST_F(MappedArrayTest, KeepsTheFileOpen) {
  auto file = file_of(8, 100000);
  const std::weak_ptr<const MappedFile> watched = file;
  {
    const auto array =
        mapped_array(file, file->bytes().subspan(8), {100000}, mx::float32);
    file.reset();
    EXPECT_EQ(mx::max(array).item<float>(), 99999);
    EXPECT_FALSE(watched.expired());
  }
  EXPECT_TRUE(watched.expired());
}

TEST_F(MappedArrayTest, IsNeverWrittenTo) {
  const auto file = file_of(8, 4);
  const auto bytes = file->bytes().subspan(8);
  // Nobody else holds the array, so MLX would reuse memory of its own.
  auto next = mapped_array(file, bytes, {4}, mx::float32) + mx::array(1.0f);
  next.eval();
  EXPECT_EQ(mx::sum(next).item<float>(), 10);
  const auto again = mapped_array(file, bytes, {4}, mx::float32);
  EXPECT_EQ(mx::sum(again).item<float>(), 6);
}

TEST_F(MappedArrayTest, HoldsNothingForNoBytes) {
  const auto file = file_of(8, 0);
  const auto array =
      mapped_array(file, file->bytes().subspan(8), {0, 3}, mx::float32);
  EXPECT_EQ(array.size(), 0U);
}

}  // namespace
}  // namespace llamlx
