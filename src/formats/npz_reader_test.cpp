#include "formats/npz_reader.h"

#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/zip_testing.h"

namespace llamlx {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::patched;
using testing::TemporaryFolder;
using testing::zip_of;
using testing::ZipPart;

std::string npy_of(const mx::array& values) {
  auto rows = mx::contiguous(values);
  rows.eval();
  return npy_header_text(rows.dtype(), rows.shape()) +
         std::string(rows.data<char>(), rows.nbytes());
}

/// Bytes with this dictionary for a header.
std::string npy_of(const std::string& dict, const std::string& data) {
  return concat("\x93NUMPY\1", '\0', static_cast<char>(dict.size()), '\0', dict,
                data);
}

std::string fortran_dict(const std::string& shape) {
  return concat("{'descr': '<f4', 'fortran_order': True, 'shape': ", shape,
                "}\n");
}

std::string bytes_of(const std::vector<float>& values) {
  return {reinterpret_cast<const char*>(values.data()),
          values.size() * sizeof(float)};
}

class NpzReaderTest : public ::testing::Test {
 protected:
  NpzFile open(const std::vector<ZipPart>& parts) const {
    return NpzFile(folder_.write("x.npz", zip_of(parts)));
  }

  /// How an archive of one entry is refused.
  std::string refusal(const ZipPart& part,
                      ErrorCode code = ErrorCode::corrupt_file) const {
    const auto message = error_of(code, [&] { open({part}); });
    EXPECT_THAT(message, AllOf(HasSubstr("x.npz: "),
                               HasSubstr(concat("entry ", part.name))));
    return message;
  }

  static void expect_equal(const NpzFile& file, const std::string& name,
                           const mx::array& wanted) {
    const auto* entry = file.find(name);
    ASSERT_NE(entry, nullptr) << name;
    EXPECT_TRUE(*entry->dtype == wanted.dtype()) << name;
    EXPECT_EQ(entry->shape, wanted.shape()) << name;
    const auto got = file.read(*entry);
    EXPECT_TRUE(got.dtype() == wanted.dtype()) << name;
    EXPECT_EQ(got.shape(), wanted.shape()) << name;
    EXPECT_TRUE(got.flags().row_contiguous) << name;
    EXPECT_TRUE(mx::array_equal(got, wanted).item<bool>()) << name;
  }

  TemporaryFolder folder_;
};

TEST_F(NpzReaderTest, ListsTensorsByNameWithoutExtension) {
  const auto values = npy_of(mx::zeros({2, 3}));
  const auto file = open({{"a.npy", values}, {"a.b.npy", values, true}});
  ASSERT_EQ(file.tensors().size(), 2u);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.tensors()[0].dtype_name, "<f4");
  EXPECT_EQ(file.tensors()[0].shape, (mx::Shape{2, 3}));
  EXPECT_EQ(file.tensors()[1].name, "a.b");
  EXPECT_EQ(file.find("a.npy"), nullptr);
}

TEST_F(NpzReaderTest, ReadsStoredAndDeflatedValues) {
  std::vector<ZipPart> parts;
  const std::vector<mx::array> arrays = {
      mx::reshape(mx::arange(24, mx::float32), {2, 3, 4}),
      mx::astype(mx::arange(5), mx::bfloat16), mx::array(7, mx::int8),
      mx::zeros({3, 0}), mx::array({true, false})};
  for (const bool is_deflated : {false, true}) {
    for (const auto& array : arrays) {
      parts.push_back(
          {concat(parts.size(), ".npy"), npy_of(array), is_deflated});
    }
  }
  const auto file = open(parts);
  for (std::size_t i = 0; i < parts.size(); ++i) {
    expect_equal(file, concat(i), arrays[i % arrays.size()]);
  }
}

TEST_F(NpzReaderTest, PutsColumnsIntoRows) {
  const auto data = bytes_of({1, 2, 3, 4, 5, 6});
  const auto file =
      open({{"matrix.npy", npy_of(fortran_dict("(2, 3)"), data)},
            {"deflated.npy", npy_of(fortran_dict("(2, 3)"), data), true},
            {"cube.npy", npy_of(fortran_dict("(3, 1, 2)"), data)},
            {"vector.npy", npy_of(fortran_dict("(6,)"), data)}});
  const auto matrix = mx::array({1.f, 3.f, 5.f, 2.f, 4.f, 6.f}, {2, 3});
  expect_equal(file, "matrix", matrix);
  expect_equal(file, "deflated", matrix);
  expect_equal(file, "cube",
               mx::array({1.f, 4.f, 2.f, 5.f, 3.f, 6.f}, {3, 1, 2}));
  expect_equal(file, "vector", mx::arange(1, 7, mx::float32));
}

TEST_F(NpzReaderTest, StoredValuesStandOnTheMapping) {
  // A name as long as brings the data to a multiple of 64 in the file.
  const std::string name(64 - 30 - 4, 'n');
  const auto values = mx::arange(32, mx::float32);
  const auto file = open({{name + ".npy", npy_of(values)}});
  const auto& entry = file.tensors()[0];
  EXPECT_EQ(file.read(entry).data<float>(), file.read(entry).data<float>());
}

TEST_F(NpzReaderTest, ArraysOutliveTheFile) {
  std::vector<mx::array> kept;
  {
    const auto file = open({{"a.npy", npy_of(mx::arange(9))},
                            {"b.npy", npy_of(mx::arange(9)), true}});
    for (const auto& entry : file.tensors()) kept.push_back(file.read(entry));
  }
  for (const auto& array : kept) {
    EXPECT_TRUE(mx::array_equal(array, mx::arange(9)).item<bool>());
  }
}

TEST_F(NpzReaderTest, RefusesDamagedValuesWhenTheyAreRead) {
  for (const bool is_deflated : {false, true}) {
    const auto values = npy_of(mx::ones({100}));
    auto archive = zip_of({{"a.npy", values, is_deflated}});
    // Both CRCs: the headers agree with each other and not with the values.
    archive = patched(archive, 14, 1, 4);
    archive = patched(archive, archive.find("PK\1\2") + 16, 1, 4);
    const NpzFile file(folder_.write("x.npz", archive));
    for (int times = 0; times < 2; ++times) {
      EXPECT_THAT(error_of(ErrorCode::corrupt_file,
                           [&] { file.read(file.tensors()[0]); }),
                  HasSubstr("entry a.npy has the wrong checksum"));
    }
  }
}

TEST_F(NpzReaderTest, RefusesEntriesThatAreNoArrays) {
  EXPECT_THAT(refusal({"notes.txt", "text"}, ErrorCode::unsupported),
              HasSubstr("not an array"));
  EXPECT_THAT(refusal({"folder/", ""}, ErrorCode::unsupported),
              HasSubstr("not an array"));
  for (const bool is_deflated : {false, true}) {
    EXPECT_THAT(refusal({"a.npy", "", is_deflated}), HasSubstr("too short"));
    EXPECT_THAT(refusal({"a.npy", "\x93NUMPY", is_deflated}),
                HasSubstr("too short"));
    EXPECT_THAT(refusal({"a.npy", std::string(200, 'x'), is_deflated}),
                HasSubstr("not a numpy array"));
  }
}

TEST_F(NpzReaderTest, RefusesArraysCutShortAnywhere) {
  const auto values = npy_of(mx::arange(4, mx::float32));
  for (const bool is_deflated : {false, true}) {
    for (std::size_t size = 0; size < values.size(); ++size) {
      refusal({"a.npy", values.substr(0, size), is_deflated});
    }
  }
}

TEST_F(NpzReaderTest, RefusesSizesThatContradictTheShape) {
  const auto values = npy_of(mx::zeros({2, 3}));
  for (const bool is_deflated : {false, true}) {
    EXPECT_THAT(refusal({"a.npy", values + "x", is_deflated}),
                HasSubstr("has 25 bytes of data where its type and shape need "
                          "24"));
  }
  const auto shaped = [&](const std::string& shape) {
    return refusal({"a.npy", npy_of(fortran_dict(shape), "four")});
  };
  EXPECT_THAT(shaped("(2147483647, 2147483647, 2)"), HasSubstr("too large"));
  EXPECT_THAT(shaped("(2147483647, 2147483647, 0, 2147483647)"),
              HasSubstr("too large"));
  EXPECT_THAT(shaped("(0,)"), HasSubstr("need 0"));
}

TEST_F(NpzReaderTest, AMissingFileIsNotFound) {
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [&] { NpzFile(folder_.path() / "absent.npz"); }),
              HasSubstr("absent.npz"));
}

}  // namespace
}  // namespace llamlx
