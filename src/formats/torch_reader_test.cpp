#include "formats/torch_reader.h"

#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/torch_testing.h"

namespace llamlx {
namespace {

using testing::dict_of;
using ::testing::ElementsAre;
using testing::error_of;
using testing::float_storage;
using testing::floats;
using ::testing::HasSubstr;
using testing::pickle_dict;
using testing::pickle_list;
using testing::pickle_of;
using testing::pickle_text;
using testing::tensor_of;
using testing::torch_storage;
using testing::torch_stream;
using testing::torch_stream_header;
using testing::torch_tensor;
using testing::torch_zip;
using testing::TorchBytes;
using testing::values;
using namespace std::string_literals;

using TorchReaderTest = testing::TorchFileTest;

TEST_F(TorchReaderTest, ReadsBothFormats) {
  const auto object = dict_of(tensor_of({2, 2}, {3, 1}, 1));
  for (const auto& bytes : {torch_stream(object, {float_storage("0", 6)}),
                            torch_zip(object, {float_storage("0", 6)})}) {
    const auto file = open(bytes);
    ASSERT_EQ(file.tensors().size(), 1U);
    EXPECT_EQ(file.tensors()[0].name, "w");
    EXPECT_EQ(file.tensors()[0].dtype_name, "float32");
    EXPECT_EQ(file.tensors()[0].shape, (mx::Shape{2, 2}));
    EXPECT_THAT(values(file), ElementsAre(1, 2, 4, 5));
  }
}

TEST_F(TorchReaderTest, SortsByName) {
  const auto tensor = tensor_of({1}, {1});
  const auto file = open(torch_stream(
      pickle_dict({pickle_text("b"), tensor, pickle_text("a"), tensor}),
      {float_storage("0", 6)}));
  ASSERT_EQ(file.tensors().size(), 2U);
  EXPECT_EQ(file.tensors()[0].name, "a");
  EXPECT_EQ(file.find("c"), nullptr);
}

TEST_F(TorchReaderTest, SharesStoragesAmongTensors) {
  const auto tensor = tensor_of({6}, {1});
  const auto part = tensor_of({2}, {2}, 1);
  const auto file = open(
      torch_zip(pickle_dict({pickle_text("a"), tensor, pickle_text("b"), part}),
                {float_storage("0", 6)}));
  EXPECT_THAT(values(file, "a"), ElementsAre(0, 1, 2, 3, 4, 5));
  EXPECT_THAT(values(file, "b"), ElementsAre(1, 3));
}

TEST_F(TorchReaderTest, StandsOnTheMappingWhereItCan) {
  if (mx::is_available(mx::Device(mx::Device::gpu))) {
    GTEST_SKIP() << "a GPU has memory of its own";
  }
  const auto zip = [](std::size_t padding) {
    return testing::zip_of(
        {{.name = "x/data.pkl",
          .bytes = pickle_of(dict_of(tensor_of({6}, {1})))},
         {.name = "x/padding", .bytes = std::string(padding, '\0')},
         {.name = "x/data/0", .bytes = floats(6)}});
  };
  const auto file = open(zip(64 - zip(0).find(floats(6)) % 64));
  const auto first = file.read(*file.find("w"));
  const auto second = file.read(*file.find("w"));
  EXPECT_EQ(first.data<float>(), second.data<float>());
}

TEST_F(TorchReaderTest, RefusesNamesThatAreNoText) {
  EXPECT_THAT(
      unsupported(pickle_dict({pickle_text("\xff"), tensor_of({1}, {1})})),
      HasSubstr("not by a text in UTF-8"));
  EXPECT_THAT(unsupported(pickle_dict({"K\1", tensor_of({1}, {1})})),
              HasSubstr("names a tensor by an integer"));
}

TEST_F(TorchReaderTest, RefusesNamesThatOccurTwice) {
  const auto tensor = tensor_of({1}, {1});
  EXPECT_THAT(corrupt(pickle_dict(
                  {pickle_text("w"), tensor, pickle_text("w"), tensor})),
              HasSubstr("has tensor w twice"));
}

TEST_F(TorchReaderTest, LooksThroughADictOnceHoweverOftenItIsThere) {
  // A large dict, and another that has it many times: no square of that.
  std::string large = "}q\1(";
  for (int i = 0; i < 500'000; ++i) large += "NN";
  std::string object = "}q\2(" + pickle_text("x") + large + "u";
  for (int i = 0; i < 500'000; ++i) object += "Nh\1";
  EXPECT_THAT(unsupported(object + "u"), HasSubstr("holds no dict of tensors"));
}

TEST_F(TorchReaderTest, BoundsTheNumberOfTensors) {
  std::string object = "}(" + pickle_text("w") + tensor_of({1}, {1}) + "q\1";
  for (int i = 0; i < 200'000; ++i) {
    object += pickle_text(std::to_string(i)) + "h\1";
  }
  EXPECT_THAT(unsupported(object + "u"), HasSubstr("more than 200000 tensors"));
}

TEST_F(TorchReaderTest, TakesTheOneNestedStateDict) {
  const auto state = dict_of(tensor_of({2}, {1}));
  for (const auto* name : {"state_dict", "model", "module"}) {
    const auto file = open(torch_stream(
        pickle_dict({pickle_text("epoch"), "K\3", pickle_text(name), state}),
        {float_storage("0", 6)}));
    EXPECT_THAT(values(file), ElementsAre(0, 1));
    EXPECT_THAT(file.notices(),
                ElementsAre("left out 1 that hold no tensors: epoch"));
  }
}

TEST_F(TorchReaderTest, RefusesFilesThatAreNotOfTorch) {
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, ""), HasSubstr("no pickle"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, "<html>"),
              HasSubstr("is not a torch file"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, "version https://git-lfs.gi"),
              HasSubstr("git lfs pull"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, pickle_of("K\1")),
              HasSubstr("begins with another pickle"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, testing::zip_of({})),
              HasSubstr("no data.pkl"));
  EXPECT_THAT(refusal(ErrorCode::unsupported,
                      std::string(257, 'x') + "ustar\0"s + "00"),
              HasSubstr("tar file"));
  error_of(ErrorCode::not_found, [] { TorchFile{"/nowhere/x.pth"}; });
}

TEST_F(TorchReaderTest, RefusesOtherVersionsAndMachines) {
  EXPECT_THAT(
      refusal(ErrorCode::corrupt_file, torch_stream_header("0123456789")),
      HasSubstr("another pickle"));
  const std::string magic = "\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";
  EXPECT_THAT(refusal(ErrorCode::unsupported, torch_stream_header(magic, 1002)),
              HasSubstr("another version"));
  EXPECT_THAT(
      refusal(ErrorCode::unsupported, torch_stream_header(magic, 1001, false)),
      HasSubstr("big-endian"));
  const auto machine = torch_stream_header().find("\x80\x02}");
  EXPECT_THAT(
      refusal(ErrorCode::corrupt_file,
              torch_stream_header().substr(0, machine) + pickle_of("N")),
      HasSubstr("does not say what machine"));
  const auto object = dict_of(tensor_of({1}, {1}));
  const auto zip = [&](const std::string& name, const std::string& bytes) {
    return torch_zip(object, {float_storage("0", 6)},
                     {{.name = name, .bytes = bytes}});
  };
  EXPECT_THAT(refusal(ErrorCode::unsupported, zip("x/byteorder", "big")),
              HasSubstr("big-endian"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, zip("x/byteorder", "middle")),
              HasSubstr("unknown byte order"));
  EXPECT_THAT(refusal(ErrorCode::unsupported, zip("x/constants.pkl", "")),
              HasSubstr("TorchScript"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, zip("y/data.pkl", "")),
              HasSubstr("two pickles, x/data.pkl and y/data.pkl"));
  EXPECT_EQ(open(zip("x/byteorder", "little")).tensors().size(), 1U);
  EXPECT_EQ(open(zip("x/y/data.pkl", "")).tensors().size(), 1U);
}

TEST_F(TorchReaderTest, RefusesStreamsWhoseStoragesAreOthers) {
  const auto object = dict_of(tensor_of({1}, {1}));
  const auto error = [&](const std::vector<TorchBytes>& storages) {
    return refusal(ErrorCode::corrupt_file, torch_stream(object, storages));
  };
  EXPECT_THAT(error({}), HasSubstr("has no storage 0"));
  EXPECT_THAT(error({float_storage("1", 6)}), HasSubstr("of no tensor"));
  EXPECT_THAT(error({float_storage("0", 6), float_storage("0", 6)}),
              HasSubstr("lists a storage twice"));
  EXPECT_THAT(error({float_storage("0", 5)}),
              HasSubstr("storage 0 has 5 values, not 6"));
  EXPECT_THAT(error({{"0", -6, floats(6)}}), HasSubstr("has -6 values"));
  EXPECT_THAT(error({{"0", 6, floats(5)}}),
              HasSubstr("has 24 bytes, but only 20 are there"));
  const auto header = torch_stream_header() + pickle_of(object);
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, header + pickle_of("N")),
              HasSubstr("lists no storages"));
  EXPECT_THAT(
      refusal(ErrorCode::corrupt_file, header + pickle_of(pickle_list({"N"}))),
      HasSubstr("of no tensor"));
}

TEST_F(TorchReaderTest, RefusesZipsWhoseStoragesAreOthers) {
  const auto object = dict_of(tensor_of({1}, {1}));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file, torch_zip(object, {})),
              HasSubstr("has no storage 0"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file,
                      torch_zip(object, {float_storage("0", 5)})),
              HasSubstr("has 20 bytes where tensors need 24"));
  EXPECT_THAT(
      refusal(
          ErrorCode::unsupported,
          torch_zip(
              object, {},
              {{.name = "x/data/0", .bytes = floats(6), .is_deflated = true}})),
      HasSubstr("storage 0 compressed"));
  EXPECT_THAT(refusal(ErrorCode::corrupt_file,
                      torch_zip(object + ".N", {float_storage("0", 6)})),
              HasSubstr("goes on after its pickle"));
  EXPECT_EQ(open(torch_zip(object, {float_storage("0", 7)})).tensors().size(),
            1U);
}

TEST_F(TorchReaderTest, RefusesAStorageItsTensorsSpeakOfDifferently) {
  // Twice the values the first mention has: bytes of another storage.
  const auto object = pickle_dict(
      {pickle_text("a"), torch_tensor(torch_storage("0", 3), 0, {1}, {1}),
       pickle_text("b"), torch_tensor(torch_storage("0", 6), 5, {1}, {1})});
  EXPECT_THAT(refusal(ErrorCode::corrupt_file,
                      torch_stream(object, {{"0", 3, floats(6)}})),
              HasSubstr("storage 0 has 12 bytes where tensors need 24"));
}

TEST_F(TorchReaderTest, ChecksTheCrcOfAStorageWhenItIsRead) {
  auto bytes = torch_zip(dict_of(tensor_of({6}, {1})), {float_storage("0", 6)});
  const auto at = bytes.find(floats(6));
  ASSERT_NE(at, std::string::npos);
  bytes[at + 5] ^= 1;
  const auto file = open(bytes);
  for (int i = 0; i < 2; ++i) {
    EXPECT_THAT(error_of(ErrorCode::corrupt_file,
                         [&] { file.read(file.tensors()[0]); }),
                HasSubstr("x/data/0"));
  }
}

TEST_F(TorchReaderTest, ReadsFromSeveralThreads) {
  const auto file = open(
      torch_zip(dict_of(tensor_of({2, 3}, {1, 2})), {float_storage("0", 6)}));
  std::vector<std::thread> threads;
  std::vector<std::vector<float>> results(8);
  for (auto& result : results) {
    threads.emplace_back([&] { result = values(file); });
  }
  for (auto& thread : threads) thread.join();
  for (const auto& result : results) {
    EXPECT_THAT(result, ElementsAre(0, 2, 4, 1, 3, 5));
  }
}

}  // namespace
}  // namespace llamlx
