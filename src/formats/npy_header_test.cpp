#include "formats/npy_header.h"

#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/zip_testing.h"

namespace llamlx {
namespace {

namespace mx = mlx::core;
using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::little;

const std::filesystem::path kFile = "x.npz";
const NpySubject kSubject = {kFile, "t.npy"};

std::string header_of(std::string_view dict, int version = 1) {
  std::string bytes = "\x93NUMPY";
  bytes += little(static_cast<unsigned>(version), 2);
  return bytes + little(dict.size(), version == 1 ? 2 : 4) + std::string(dict);
}

NpyHeader parse(std::string_view dict) {
  return parse_npy_header(kSubject, header_of(dict));
}

std::string refusal(std::string_view dict,
                    ErrorCode code = ErrorCode::corrupt_file) {
  const auto message = error_of(code, [&] { parse(dict); });
  EXPECT_THAT(message, AllOf(HasSubstr("x.npz: "), HasSubstr("entry t.npy")));
  return message;
}

std::string dict_of(std::string_view descr, std::string_view order,
                    std::string_view shape) {
  return concat("{'descr': ", descr, ", 'fortran_order': ", order,
                ", 'shape': ", shape, ", }\n");
}

std::string shape_refusal(std::string_view shape) {
  return refusal(dict_of("'<f4'", "False", shape));
}

std::string type_refusal(std::string_view descr) {
  return refusal(dict_of(descr, "False", "()"), ErrorCode::unsupported);
}

TEST(NpyHeaderTest, ReadsWhatNumpyWrites) {
  const auto header = parse(
      "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }    \n");
  EXPECT_EQ(header.dtype_name, "<f4");
  EXPECT_TRUE(header.dtype == mx::float32);
  EXPECT_FALSE(header.is_fortran);
  EXPECT_EQ(header.shape, (mx::Shape{2, 3}));
}

TEST(NpyHeaderTest, ReadsWhatMlxWrites) {
  const auto header =
      parse("{'descr': '<V2', 'fortran_order': True, 'shape': (4, )}    \n");
  EXPECT_TRUE(header.dtype == mx::bfloat16);
  EXPECT_TRUE(header.is_fortran);
  EXPECT_EQ(header.shape, (mx::Shape{4}));
}

TEST(NpyHeaderTest, ReadsEverySpelling) {
  for (const auto* dict :
       {"{'descr':'<i2','fortran_order':False,'shape':(1,2)}",
        "{\"shape\": (1, 2,), \"descr\": \"<i2\", \"fortran_order\": False}",
        " { 'fortran_order' : False , 'shape' : ( 1 , 2 ) , 'descr' : '<i2' , "
        "}  \n"}) {
    const auto header = parse(dict);
    EXPECT_TRUE(header.dtype == mx::int16) << dict;
    EXPECT_EQ(header.shape, (mx::Shape{1, 2})) << dict;
  }
  EXPECT_TRUE(parse(dict_of("'|b1'", "False", "()")).shape.empty());
}

TEST(NpyHeaderTest, TellsTheSizeOfEveryVersion) {
  const auto size = [](int version, std::size_t length) {
    const auto header = header_of(std::string(length, ' '), version);
    return npy_header_size(kSubject, std::string_view(header).substr(0, 12));
  };
  EXPECT_EQ(size(1, 118), 128u);
  EXPECT_EQ(size(2, 300), 312u);
  EXPECT_EQ(size(3, 65536), 65548u);
  const auto dict = dict_of("'<f2'", "False", "(2,)");
  EXPECT_EQ(parse_npy_header(kSubject, header_of(dict, 3)).shape,
            (mx::Shape{2}));
}

TEST(NpyHeaderTest, RefusesWhatIsNoArrayOrTooNew) {
  const auto size_refusal = [](std::string header, ErrorCode code) {
    header.resize(12);
    return error_of(code, [&] { npy_header_size(kSubject, header); });
  };
  EXPECT_THAT(size_refusal("NUMPY", ErrorCode::corrupt_file),
              HasSubstr("entry t.npy is not a numpy array"));
  EXPECT_THAT(size_refusal(header_of("", 4), ErrorCode::unsupported),
              HasSubstr("npy version 4.0"));
  EXPECT_THAT(size_refusal(header_of("", 0x101), ErrorCode::unsupported),
              HasSubstr("npy version 1.1"));
  EXPECT_THAT(size_refusal(
                  "\x93NUMPY\2" + std::string(1, '\0') + std::string(4, '\xff'),
                  ErrorCode::corrupt_file),
              HasSubstr("npy header of 4294967295 bytes"));
}

TEST(NpyHeaderTest, RefusesTypesByName) {
  EXPECT_THAT(type_refusal("'>f4'"), HasSubstr("is big-endian (>f4)"));
  EXPECT_THAT(type_refusal("'|O'"), HasSubstr("holds Python objects (|O)"));
  EXPECT_THAT(type_refusal("[('a', '<f4')]"), HasSubstr("records"));
  for (const auto* name : {"<U5", "<f16", "|S4", "<M8[s]", "f4", "", "|V4"}) {
    EXPECT_THAT(type_refusal(concat("'", name, "'")),
                HasSubstr(concat("has the type ", name)));
  }
}

TEST(NpyHeaderTest, RefusesShapesThatAreNone) {
  for (const auto* shape :
       {"(4)", "[4]", "4", "(,)", "(4,,)", "(4 5)", "(-1,)", "(+1,)", "(4,",
        "(1.5,)", "(True,)", "(0x1,)", "(4L,)", "('4',)", "((1,),)", "None"}) {
    EXPECT_THAT(shape_refusal(shape), HasSubstr("makes no sense")) << shape;
  }
  EXPECT_THAT(shape_refusal("(2147483648,)"), HasSubstr("beyond 2^31"));
  EXPECT_THAT(shape_refusal("(99999999999999999999999,)"),
              HasSubstr("beyond 2^31"));
  std::string many = "(";
  for (int i = 0; i < 65; ++i) many += "1,";
  EXPECT_THAT(shape_refusal(many + ")"), HasSubstr("too many dimensions"));
}

TEST(NpyHeaderTest, RefusesKeysThatAreMissingTwiceOrUnknown) {
  EXPECT_THAT(refusal("{}"), HasSubstr("without"));
  EXPECT_THAT(refusal("{'descr': '<f4', 'fortran_order': False}"),
              HasSubstr("without"));
  EXPECT_THAT(refusal("{'shape': (), 'shape': ()}"),
              HasSubstr("has shape twice"));
  EXPECT_THAT(refusal("{'order': 1}"), HasSubstr("unknown key order"));
}

TEST(NpyHeaderTest, RefusesWhatIsNoDictionary) {
  const auto good = dict_of("'<f4'", "False", "(2, 3)");
  EXPECT_EQ(parse(good).shape.size(), 2u);
  EXPECT_EQ(parse(good.substr(0, good.size() - 1)).shape.size(), 2u);
  for (std::size_t size = 0; size + 2 <= good.size(); ++size) {
    refusal(good.substr(0, size));
  }
  for (const std::string rest : {"x", "\n", " x\n", "{}"}) {
    EXPECT_THAT(refusal(good + rest), HasSubstr("makes no sense"));
  }
  refusal(dict_of("'<f4'", "1", "()"));
  refusal(dict_of("'<f4'", "true", "()"));
  refusal(dict_of("<f4", "False", "()"));
  refusal(dict_of("'<\\x664'", "False", "()"));
  refusal("{'descr' '<f4'}");
  refusal("{, 'descr': '<f4'}");
}

TEST(NpyHeaderTest, WritesWhatNumpyWrites) {
  const auto expected = [](std::string_view dict) {
    std::string text(dict);
    text.resize(117, ' ');
    return header_of(text + "\n");
  };
  EXPECT_EQ(npy_header_text(mx::float32, {2, 3}),
            expected("{'descr': '<f4', 'fortran_order': False, "
                     "'shape': (2, 3), }"));
  EXPECT_EQ(npy_header_text(mx::bfloat16, {4}),
            expected("{'descr': '<V2', 'fortran_order': False, "
                     "'shape': (4,), }"));
  EXPECT_EQ(npy_header_text(mx::bool_, {}),
            expected("{'descr': '|b1', 'fortran_order': False, "
                     "'shape': (), }"));
}

TEST(NpyHeaderTest, ReadsWhatItWrites) {
  mx::Shape shape;
  for (int dimensions = 0; dimensions < 40; ++dimensions) {
    const auto text = npy_header_text(mx::uint64, shape);
    EXPECT_EQ(text.size() % 64, 0u);
    EXPECT_EQ(npy_header_size(kSubject, text), text.size());
    const auto header = parse_npy_header(kSubject, text);
    EXPECT_TRUE(header.dtype == mx::uint64);
    EXPECT_EQ(header.shape, shape);
    shape.push_back(dimensions * 1000);
  }
  EXPECT_THROW(npy_header_text(mx::uint64, mx::Shape(30000, 1)),
               std::invalid_argument);
}

}  // namespace
}  // namespace llamlx
