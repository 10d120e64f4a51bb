#include "base/json.h"

#include <cstdint>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using testing::error_of;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

std::string parse_error(const std::string& text,
                        RepeatedKeys keys = RepeatedKeys::last_counts) {
  return error_of(ErrorCode::corrupt_file,
                  [&] { parse_json_object(text, "config.json", keys); });
}

std::string nested(int levels) {
  return "{\"a\":" + std::string(levels - 1, '[') +
         std::string(levels - 1, ']') + "}";
}

TEST(JsonTest, NamesTheFileAndThePlaceOfASyntaxError) {
  EXPECT_THAT(parse_error("{\"a\": 1,}"),
              HasSubstr("config.json: is not valid JSON near byte 9"));
  EXPECT_THAT(parse_error(""), HasSubstr("not valid JSON"));
  EXPECT_THAT(parse_error("{\"a\": \"\xff\"}"), HasSubstr("not valid JSON"));
}

TEST(JsonTest, RefusesEveryPrefixOfAnObject) {
  const std::string text =
      R"({"a": [1, -2.5e3, "x\n\u00e9"], "b": {"c": null}})";
  for (std::size_t length = 0; length < text.size(); ++length) {
    EXPECT_THAT(parse_error(text.substr(0, length)), HasSubstr("config.json"));
  }
  EXPECT_NO_THROW(parse_json_object(text, "config.json"));
}

TEST(JsonTest, RefusesWhatIsNotAnObject) {
  EXPECT_THAT(parse_error("[1]"), HasSubstr("expected a JSON object, got arr"));
  EXPECT_THAT(parse_error("null"), HasSubstr("got null"));
}

TEST(JsonTest, RefusesNumbersBeyondADouble) {
  EXPECT_THAT(parse_error("{\"a\": 1e999}"), HasSubstr("number too large"));
}

TEST(JsonTest, RefusesDeepNestingWithoutRecursing) {
  EXPECT_NO_THROW(parse_json_object(nested(256), "config.json"));
  EXPECT_THAT(parse_error(nested(257)), HasSubstr("256 levels"));
  EXPECT_THAT(parse_error(std::string(5'000'000, '[')), HasSubstr("nested"));
}

TEST(JsonTest, BracketsInsideStringsAreNotNesting) {
  const auto text = "{\"a\\\"\": \"" + std::string(1000, '[') + "\"}";
  EXPECT_NO_THROW(parse_json_object(text, "config.json"));
}

TEST(JsonTest, RepeatedKeysAreRefusedWhereAsked) {
  const std::string twice = R"({"a": {"x": 1}, "b": {"x": 1}, "a": 2})";
  EXPECT_EQ(parse_json_object(twice, "f").at("a"), 2);
  EXPECT_THAT(parse_error(twice, RepeatedKeys::refused),
              HasSubstr("names \"a\" twice"));
  EXPECT_THAT(parse_error(R"({"a": {"x": 1, "x": 1}})", RepeatedKeys::refused),
              HasSubstr("names \"x\" twice"));
  const std::string once = R"({"a": {"x": 1}, "b": {"x": 1}})";
  EXPECT_EQ(parse_json_object(once, "f", RepeatedKeys::refused).size(), 2u);
}

TEST(JsonTest, GetsValuesOfTheTypeAskedFor) {
  const Json object = {{"flag", true},         {"count", 7},
                       {"big", 5'000'000'000}, {"rate", 0.5},
                       {"name", "llama"},      {"nothing", nullptr}};
  EXPECT_EQ(json_get<bool>(object, "flag", "f"), true);
  EXPECT_EQ(json_get<int>(object, "count", "f"), 7);
  EXPECT_EQ(json_get<std::int64_t>(object, "big", "f"), 5'000'000'000);
  EXPECT_EQ(json_get<double>(object, "rate", "f"), 0.5);
  EXPECT_EQ(json_get<double>(object, "count", "f"), 7.0);
  EXPECT_EQ(json_get<std::string>(object, "name", "f"), "llama");
  EXPECT_FALSE(json_get<int>(object, "nothing", "f"));
  EXPECT_FALSE(json_get<int>(object, "absent", "f"));
}

TEST(JsonTest, NeverTakesOneTypeForAnother) {
  const auto object = parse_json_object(
      R"({"text": "7", "one": 1, "half": 1.5, "big": 5000000000,
          "low": -5000000000, "huge": 18446744073709551615})",
      "config.json");
  const auto refused = [&]<typename T>(const char* key, T) {
    return error_of(ErrorCode::corrupt_file,
                    [&] { json_get<T>(object, key, "config.json"); });
  };
  EXPECT_EQ(refused("text", int()),
            "config.json: \"text\" should be a whole number, got \"7\"; "
            "correct the file or download it again");
  EXPECT_THAT(refused("one", bool()), HasSubstr("true or false, got 1"));
  EXPECT_THAT(refused("one", std::string()), HasSubstr("a string, got 1"));
  EXPECT_THAT(refused("text", double()), HasSubstr("a number"));
  EXPECT_THAT(refused("half", int()), HasSubstr("whole number, got 1.5"));
  EXPECT_THAT(refused("big", int()), HasSubstr("got 5000000000"));
  EXPECT_THAT(refused("low", int()), HasSubstr("got -5000000000"));
  EXPECT_THAT(refused("huge", std::int64_t()), HasSubstr("whole number"));
}

TEST(JsonTest, ChecksTheRangeOfNumbersMadeInTheProgram) {
  const Json object = {{"big", std::int64_t{5'000'000'000}}};
  EXPECT_THROW(json_get<int>(object, "big", "f"), Error);
}

TEST(JsonTest, WritesAFileThatReadsBackEqual) {
  const TemporaryFolder folder;
  const Json value = {{"b", {1, 2}}, {"a", "\xc3\xa9"}};
  write_json_file(folder.path() / "x.json", value);
  EXPECT_EQ(read_json_file(folder.path() / "x.json"), value);
  EXPECT_EQ(testing::read_bytes(folder.path() / "x.json"),
            "{\n    \"a\": \"\xc3\xa9\",\n    \"b\": [\n        1,\n        2\n"
            "    ]\n}\n");
}

TEST(JsonTest, AMissingFileIsNotFound) {
  EXPECT_THAT(error_of(ErrorCode::not_found,
                       [] { read_json_file("/nonexistent/config.json"); }),
              HasSubstr("/nonexistent/config.json"));
}

TEST(JsonTest, UniqueKeysAreWatchedInTimeThatGrowsWithTheText) {
  std::string text = "{";
  for (int i = 0; i < 200000; ++i) {
    text += concat(i == 0 ? "" : ",", "\"k", i, "\":{\"a\":[],\"b\":{}}");
  }
  const auto json =
      parse_json_object(text + "}", "many", RepeatedKeys::refused);
  EXPECT_EQ(json.size(), 200000U);
}

}  // namespace
}  // namespace llamlx
