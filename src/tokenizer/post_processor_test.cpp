#include "tokenizer/post_processor.h"

#include <vector>

#include <gtest/gtest.h>

#include "tokenizer/tokenizer_testing.h"

namespace llamlx {
namespace {

using testing::component;
using testing::error_of;
using testing::Ids;

Ids processed(const std::string& settings, const Ids& ids, bool special) {
  const Json json = testing::parse(settings);
  return PostProcessor(component(json)).apply(ids, special);
}

const char* const kTemplate = R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
               {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "end", "type_id": 0}}],
    "pair": [],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]},
                       "end": {"id": "end", "ids": [2, 3],
                               "tokens": ["a", "b"]}}})";

TEST(PostProcessorTest, AddsNothingByDefault) {
  EXPECT_EQ(PostProcessor().apply({7}, true), (Ids{7}));
  EXPECT_EQ(processed(R"({"type": "ByteLevel"})", {7}, true), (Ids{7}));
}

TEST(PostProcessorTest, PutsTheTemplatesTokensAround) {
  EXPECT_EQ(processed(kTemplate, {7, 8}, true), (Ids{1, 7, 8, 2, 3}));
  EXPECT_EQ(processed(kTemplate, {7, 8}, false), (Ids{7, 8}));
  EXPECT_EQ(processed(kTemplate, {}, true), (Ids{1, 2, 3}));
}

TEST(PostProcessorTest, RunsSequences) {
  const std::string sequence =
      std::string(R"({"type": "Sequence", "processors": [)") +
      R"({"type": "ByteLevel"},)" + kTemplate + "," + kTemplate + "]}";
  EXPECT_EQ(processed(sequence, {7}, true), (Ids{1, 1, 7, 2, 3, 2, 3}));
}

TEST(PostProcessorTest, RefusesWhatItDoesNotKnow) {
  for (const char* settings :
       {R"({"type": "BertProcessing"})", R"({"type": "RobertaProcessing"})"}) {
    error_of(ErrorCode::unsupported, [&] { processed(settings, {}, true); });
  }
}

TEST(PostProcessorTest, RefusesBrokenTemplates) {
  const auto with = [](const char* single, const char* tokens) {
    return std::string(R"({"type": "TemplateProcessing", "single": )") +
           single + R"(, "special_tokens": )" + tokens + "}";
  };
  const char* bos = R"([{"SpecialToken": {"id": "<s>"}}])";
  for (const std::string& settings :
       {with("3", "{}"), with("[3]", "{}"), with(R"([{"Other": {}}])", "{}"),
        with(R"([{"Sequence": {"id": "B"}}])", "{}"),
        with(R"([{"Sequence": {}}])", "{}"), with(R"([{"Sequence": 1}])", "{}"),
        with(bos, "{}"), with(bos, "[]"), with(bos, R"({"<s>": 1})"),
        with(bos, R"({"<s>": {"ids": 1}})"),
        with(bos, R"({"<s>": {"ids": [-1]}})"),
        with(bos, R"({"<s>": {"ids": ["a"]}})"),
        with(bos, R"({"<s>": {"ids": [1e99]}})"),
        with(bos, R"({"<s>": {"ids": [4294967296]}})")}) {
    error_of(ErrorCode::corrupt_file, [&] { processed(settings, {}, true); });
  }
}

}  // namespace
}  // namespace llamlx
