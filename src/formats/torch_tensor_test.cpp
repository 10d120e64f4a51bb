#include "formats/torch_tensor.h"

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "formats/torch_testing.h"

namespace llamlx {
namespace {

using testing::dict_of;
using ::testing::ElementsAre;
using testing::float_storage;
using ::testing::HasSubstr;
using testing::no_hooks;
using testing::pickle_call;
using testing::pickle_dict;
using testing::pickle_global;
using testing::pickle_list;
using testing::pickle_number;
using testing::pickle_numbers;
using testing::pickle_text;
using testing::pickle_tuple;
using testing::tensor_of;
using testing::torch_storage;
using testing::torch_stream;
using testing::torch_tensor;
using testing::values;
using namespace std::string_literals;

using TorchTensorTest = testing::TorchFileTest;

constexpr auto kMost = std::numeric_limits<std::int64_t>::max();

TEST_F(TorchTensorTest, ReadsThePartsOfStoragesThatOldFilesHave) {
  const auto part = [](std::int64_t first, std::int64_t count) {
    return pickle_tuple(
        {pickle_text("part"), pickle_number(first), pickle_number(count)});
  };
  const auto object = [&](std::int64_t first, std::int64_t count) {
    return dict_of(
        torch_tensor(torch_storage("0", 6, "FloatStorage", part(first, count)),
                     1, {2}, {1}));
  };
  const auto file = open(torch_stream(object(2, 3), {float_storage("0", 6)}));
  EXPECT_THAT(values(file), ElementsAre(3, 4));
  EXPECT_THAT(corrupt(object(2, 2)), HasSubstr("its storage of 8 bytes"));
  EXPECT_THAT(corrupt(object(4, 3)), HasSubstr("goes beyond its end"));
  EXPECT_THAT(corrupt(object(7, 0)), HasSubstr("goes beyond its end"));
  EXPECT_THAT(corrupt(object(1, kMost)), HasSubstr("goes beyond its end"));
  EXPECT_THAT(corrupt(object(-1, 2)), HasSubstr("part of storage 0"));
}

TEST_F(TorchTensorTest, ReadsTheTensorsOfTheFirstReleases) {
  // _rebuild_tensor with torch.Size for the sizes, in a Python 2 OrderedDict.
  const auto tensor = pickle_call(
      "torch._utils", "_rebuild_tensor",
      {torch_storage("0", 6), "K\1",
       pickle_global("torch", "Size") + pickle_numbers({2, 2}) + "\x85\x81",
       pickle_numbers({2, 1})});
  const auto dict =
      pickle_call("collections", "OrderedDict",
                  {pickle_list({pickle_list({concat("U\1w"), tensor})})});
  const auto file = open(torch_stream(dict, {float_storage("0", 6)}));
  EXPECT_THAT(values(file), ElementsAre(1, 2, 3, 4));
}

TEST_F(TorchTensorTest, RefusesTensorsBeyondTheirStorage) {
  const auto beyond = HasSubstr("tensor w goes beyond the end of its storage");
  EXPECT_THAT(corrupt(dict_of(tensor_of({7}, {1}))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({6}, {1}, 1))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({2, 2}, {5, 1}))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({}, {}, 6))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({1}, {1}, kMost))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({2}, {kMost}))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({2}, {kMost / 4 + 1}))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({2, 2}, {kMost - 3, kMost}))), beyond);
  EXPECT_THAT(corrupt(dict_of(tensor_of({3, 3}, {kMost / 2, 1}))), beyond);
  const auto file = open(torch_stream(dict_of(tensor_of({0}, {1}, kMost)),
                                      {float_storage("0", 6)}));
  EXPECT_EQ(file.read(file.tensors()[0]).size(), 0U);
}

TEST_F(TorchTensorTest, RefusesShapesNoArrayHas) {
  EXPECT_THAT(corrupt(dict_of(tensor_of({std::int64_t{1} << 31}, {0}))),
              HasSubstr("below 2^31"));
  EXPECT_THAT(corrupt(dict_of(tensor_of({-1}, {0}))),
              HasSubstr("no whole number"));
  EXPECT_THAT(corrupt(dict_of(tensor_of({1}, {-1}))),
              HasSubstr("no whole number"));
  EXPECT_THAT(corrupt(dict_of(tensor_of({1}, {1}, -1))),
              HasSubstr("begins at no whole number"));
  EXPECT_THAT(corrupt(dict_of(tensor_of({1, 1}, {1}))),
              HasSubstr("2 sizes but 1 strides"));
  const std::int64_t large = 1 << 30;
  EXPECT_THAT(corrupt(dict_of(tensor_of({large, large, 4, 0}, {0, 0, 0, 0}))),
              HasSubstr("too large to address"));
  EXPECT_THAT(corrupt(dict_of(tensor_of(std::vector<std::int64_t>(65, 1),
                                        std::vector<std::int64_t>(65, 0)))),
              HasSubstr("65 dimensions"));
}

TEST_F(TorchTensorTest, BoundsWhatRepeatedValuesTake) {
  const std::int64_t large = 1 << 30;
  EXPECT_THAT(unsupported(dict_of(tensor_of({large}, {0}))),
              HasSubstr("tensor w repeats the values of its storage"));
  EXPECT_THAT(unsupported(dict_of(tensor_of({large, 1 << 25}, {0, 0}))),
              HasSubstr("repeats"));
  std::vector<std::string> items;
  for (int i = 0; i < 5; ++i) {
    items.push_back(pickle_text(concat("w", i)));
    items.push_back(tensor_of({16, 1 << 20}, {0, 0}));
  }
  EXPECT_THAT(unsupported(pickle_dict(items)), HasSubstr("tensor w4 repeats"));
  items.resize(2);
  const auto file =
      open(torch_stream(pickle_dict(items), {float_storage("0", 6)}));
  EXPECT_EQ(file.read(file.tensors()[0]).size(), 16U << 20);
}

TEST_F(TorchTensorTest, RefusesTensorsRebuiltInOtherWays) {
  const auto rebuild = [](const std::string& name,
                          const std::vector<std::string>& args) {
    return dict_of(pickle_call("torch._utils", "_rebuild_" + name, args));
  };
  const auto storage = torch_storage("0", 6);
  const auto one = pickle_numbers({1});
  EXPECT_THAT(corrupt(rebuild("tensor", {storage, "K\0"s, one})),
              HasSubstr("gives _rebuild_tensor 3 arguments"));
  EXPECT_THAT(corrupt(rebuild("tensor", {storage, "K\0"s, one, one, "N"})),
              HasSubstr("gives _rebuild_tensor 5 arguments"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2", {})), HasSubstr("0 arguments"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2",
                              {"N", "K\0"s, one, one, "\x88", no_hooks()})),
              HasSubstr("stands on None"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2",
                              {storage, "N", one, one, "\x88", no_hooks()})),
              HasSubstr("begins at no whole number"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2", {storage, "K\0"s, "K\1", one, "\x88",
                                            no_hooks()})),
              HasSubstr("has an integer for its size"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2",
                              {storage, "K\0"s, one, "]", "\x88", no_hooks()})),
              HasSubstr("has a list for its stride"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2",
                              {storage, "K\0"s, one, one, "K\1", no_hooks()})),
              HasSubstr("for requires_grad"));
  EXPECT_THAT(
      corrupt(rebuild("tensor_v2", {storage, "K\0"s, one, one, "\x88", "K\1"})),
      HasSubstr("for its hooks"));
  EXPECT_THAT(corrupt(rebuild("tensor_v2", {storage, "K\0"s, one, one, "\x88",
                                            no_hooks(), "K\1"})),
              HasSubstr("for its metadata"));
  EXPECT_THAT(corrupt(rebuild("tensor_v3", {storage, "K\0"s, one, one, "\x88",
                                            no_hooks(), "K\1"})),
              HasSubstr("is of type an integer"));
  EXPECT_THAT(corrupt(rebuild("tensor_v3",
                              {storage, "K\0"s, one, one, "\x88", no_hooks(),
                               pickle_global("torch", "FloatStorage")})),
              HasSubstr("is of type torch.FloatStorage"));
  EXPECT_THAT(corrupt(rebuild("parameter", {"N", "\x88", no_hooks()})),
              HasSubstr("is made of None"));
  EXPECT_THAT(corrupt(rebuild("parameter", {"N"})), HasSubstr("1 arguments"));
}

TEST_F(TorchTensorTest, RefusesTensorsWrappedTooOften) {
  auto tensor = tensor_of({1}, {1});
  for (int i = 0; i < 5; ++i) {
    tensor = pickle_call("torch._utils", "_rebuild_parameter",
                         {tensor, "\x88", no_hooks()});
  }
  EXPECT_THAT(corrupt(dict_of(tensor)), HasSubstr("is wrapped too often"));
  const auto typed = [](const std::vector<std::string>& args) {
    return dict_of(pickle_call("torch._tensor", "_rebuild_from_type_v2", args));
  };
  EXPECT_THAT(corrupt(typed({"N"})), HasSubstr("in an unknown way"));
  EXPECT_THAT(corrupt(typed({"N", "N", "N", "N"})), HasSubstr("made by None"));
  EXPECT_THAT(
      corrupt(typed({pickle_global("torch._tensor", "_rebuild_from_type_v2"),
                     "N", ")", "N"})),
      HasSubstr("made by torch._tensor._rebuild_from_type_v2"));
  EXPECT_THAT(corrupt(typed({pickle_global("torch._utils", "_rebuild_tensor"),
                             "N", "N", "N"})),
              HasSubstr("for its arguments"));
}

TEST_F(TorchTensorTest, RefusesStoragesDescribedInOtherWays) {
  const auto with = [](const std::string& storage) {
    return dict_of(torch_tensor(storage, 0, {1}, {1}));
  };
  const auto id = [&](const std::vector<std::string>& items) {
    return with(pickle_tuple(items) + "Q");
  };
  const auto kind = pickle_text("storage");
  const auto type = pickle_global("torch", "FloatStorage");
  const auto key = pickle_text("0");
  EXPECT_THAT(unsupported(id({})), HasSubstr("that is no storage"));
  EXPECT_THAT(unsupported(with("K\1Q")), HasSubstr("that is no storage"));
  EXPECT_THAT(unsupported(id({pickle_text("module"), type, key, key})),
              HasSubstr("that is no storage"));
  const auto unknown = HasSubstr("speaks of a storage in an unknown way");
  EXPECT_THAT(corrupt(id({kind, type, key, key})), unknown);
  EXPECT_THAT(corrupt(id({kind, key, key, key, "K\6"})), unknown);
  EXPECT_THAT(corrupt(id({kind, type, "K\0"s, key, "K\6"})), unknown);
  EXPECT_THAT(corrupt(id({kind, type, key, "N", "K\6"})), unknown);
  EXPECT_THAT(
      corrupt(id({kind, pickle_global("torch", "float16"), key, key, "K\6"})),
      unknown);
  const auto sizeless = HasSubstr("storage 0 has a size");
  EXPECT_THAT(corrupt(id({kind, type, key, key, "N"})), sizeless);
  EXPECT_THAT(corrupt(with(torch_storage("0", -1))), sizeless);
  EXPECT_THAT(corrupt(with(torch_storage("0", kMost / 4 + 1))), sizeless);
  EXPECT_THAT(unsupported(with(torch_storage("0", 6, "QInt8Storage"))),
              HasSubstr("torch.QInt8Storage"));
}

}  // namespace
}  // namespace llamlx
