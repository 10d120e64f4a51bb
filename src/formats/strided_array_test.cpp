#include "formats/strided_array.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <numeric>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;

class StridedArrayTest : public ::testing::Test {
 protected:
  /// A file of `size` bytes in which no two neighbours are alike.
  std::shared_ptr<const MappedFile> file_of(std::size_t size) const {
    std::string bytes(size, '\0');
    for (std::size_t i = 0; i < size; ++i) {
      bytes[i] = static_cast<char>(i * 37 + i / 251);
    }
    return std::make_shared<MappedFile>(folder_.write("x", bytes));
  }

  testing::TemporaryFolder folder_;
};

/// The bytes strided_array() must give, one value after another.
std::string expected(std::span<const std::byte> bytes, const mx::Shape& shape,
                     const mx::Strides& strides, std::size_t value_size) {
  std::string result;
  mx::Shape index(shape.size(), 0);
  const auto count = std::accumulate(shape.begin(), shape.end(), std::size_t{1},
                                     std::multiplies<>{});
  for (std::size_t n = 0; n < count; ++n) {
    std::size_t at = 0;
    for (std::size_t i = 0; i < shape.size(); ++i) {
      at += static_cast<std::size_t>(index[i] * strides[i]);
    }
    const auto* value = bytes.data() + at * value_size;
    result.append(reinterpret_cast<const char*>(value), value_size);
    for (auto i = shape.size(); i-- > 0;) {
      if (++index[i] < shape[i]) break;
      index[i] = 0;
    }
  }
  return result;
}

TEST_F(StridedArrayTest, GathersAnyStridesOfAnySize) {
  struct Case {
    mx::Shape shape;
    mx::Strides strides;
  };
  const std::vector<Case> cases = {
      {{4, 3}, {3, 1}},
      {{3, 4}, {1, 3}},
      {{2, 3, 4}, {1, 8, 2}},
      {{2, 3, 4}, {4, 8, 1}},
      {{5}, {2}},
      {{3, 5}, {0, 1}},
      {{5, 3}, {1, 0}},
      {{3, 3}, {0, 0}},
      {{4, 4}, {1, 1}},
      {{1, 3, 1}, {99, 2, 77}},
      {{}, {}},
      {{1}, {0}},
      {{2, 2, 2, 2}, {1, 2, 4, 8}},
  };
  const auto file = file_of(1024);
  const auto bytes = file->bytes().subspan(16);
  for (const auto dtype : {mx::uint8, mx::float16, mx::float32, mx::int64}) {
    for (const auto& [shape, strides] : cases) {
      SCOPED_TRACE(::testing::PrintToString(strides));
      const auto array = strided_array(file, bytes, shape, strides, dtype);
      const auto* values = reinterpret_cast<const char*>(array.data<char>());
      EXPECT_EQ(array.shape(), shape);
      EXPECT_EQ(array.dtype(), dtype);
      EXPECT_EQ(std::string(values, array.nbytes()),
                expected(bytes, shape, strides, mx::size_of(dtype)));
    }
  }
}

TEST_F(StridedArrayTest, GathersMoreThanIsHeldInMemoryAtOnce) {
  // Rows and columns of which several pieces are let go on the way.
  const int rows = 3000;
  const int columns = 4000;
  const auto file = file_of(std::size_t{4} * rows * columns);
  const auto array = strided_array(file, file->bytes(), {columns, rows},
                                   {1, columns}, mx::float32);
  const auto* values = reinterpret_cast<const char*>(array.data<char>());
  const auto wanted =
      expected(file->bytes(), {columns, rows}, {1, columns}, sizeof(float));
  EXPECT_TRUE(std::equal(wanted.begin(), wanted.end(), values));
}

TEST_F(StridedArrayTest, GathersNothing) {
  const auto file = file_of(8);
  EXPECT_EQ(strided_array(file, {}, {2, 0, 3}, {9, 9, 9}, mx::float32).shape(),
            (mx::Shape{2, 0, 3}));
}

TEST_F(StridedArrayTest, KnowsRowsFromOtherOrders) {
  EXPECT_TRUE(is_contiguous({2, 3}, {3, 1}));
  EXPECT_TRUE(is_contiguous({1, 3}, {7, 1}));
  EXPECT_TRUE(is_contiguous({}, {}));
  EXPECT_TRUE(is_contiguous({0, 3}, {1, 9}));
  EXPECT_FALSE(is_contiguous({2, 3}, {1, 2}));
  EXPECT_FALSE(is_contiguous({2, 3}, {4, 1}));
  EXPECT_FALSE(is_contiguous({2}, {0}));
}

}  // namespace
}  // namespace llamlx
