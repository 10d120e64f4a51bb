#include "formats/pickle_reader.h"

#include <array>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/concat.h"
#include "base/testing.h"
#include "formats/pickle_testing.h"

namespace llamlx {
namespace {

using ::testing::AllOf;
using testing::error_of;
using ::testing::HasSubstr;
using testing::pickle_of;
using testing::pickle_text;
using testing::raw;
using namespace std::string_literals;

constexpr std::array<PickleGlobal, 3> kAllowed = {{
    {"torch", "Size", PickleUse::call},
    {"torch", "float16", PickleUse::value},
    {"collections", "OrderedDict", PickleUse::mapping},
}};

/// A value as Python would print it, as far as it is nested.
std::string shown(const PickleValue& value, int depth = 0) {
  if (depth > 3) return "...";
  const auto all = [&](std::string_view open, std::string_view close) {
    std::string text(open);
    for (const auto* item : value.items) {
      if (text.size() > open.size()) text += ",";
      text += shown(*item, depth + 1);
    }
    return text + std::string(close);
  };
  switch (value.kind) {
    case PickleKind::none:
      return "None";
    case PickleKind::boolean:
      return value.integer != 0 ? "True" : "False";
    case PickleKind::integer:
      return std::to_string(value.integer);
    case PickleKind::big_integer:
      return concat("long", value.text.size());
    case PickleKind::real:
      return concat("real ", value.real);
    case PickleKind::text:
      return concat("'", value.text, "'");
    case PickleKind::bytes:
      return concat("b'", value.text, "'");
    case PickleKind::tuple:
      return all("(", ")");
    case PickleKind::list:
      return all("[", "]");
    case PickleKind::dict:
      return all("{", "}");
    case PickleKind::set:
      return all("set(", ")");
    case PickleKind::global:
      return describe(value);
    case PickleKind::call:
      return concat(value.global->name, all("", ""));
    case PickleKind::persistent:
      return all("<", ">");
  }
  return {};
}

std::string read(std::string_view bytes) {
  return shown(read_pickle(bytes, "x.pth", kAllowed).root());
}

/// What the value made by `code` shows as.
std::string value_of(std::string_view code) { return read(pickle_of(code)); }

std::string corrupt(std::string_view code) {
  const auto pickle = pickle_of(code);
  return error_of(ErrorCode::corrupt_file,
                  [&] { read_pickle(pickle, "x.pth", kAllowed); });
}

std::string unsupported(std::string_view code) {
  const auto pickle = pickle_of(code);
  return error_of(ErrorCode::unsupported,
                  [&] { read_pickle(pickle, "x.pth", kAllowed); });
}

TEST(PickleReaderTest, ReadsConstantsAndNumbers) {
  EXPECT_EQ(value_of("N"), "None");
  EXPECT_EQ(value_of("\x88"), "True");
  EXPECT_EQ(value_of("\x89"), "False");
  EXPECT_EQ(value_of("K\xff"), "255");
  EXPECT_EQ(value_of("M\x01\x02"), "513");
  EXPECT_EQ(value_of("J" + raw(std::int32_t{-5})), "-5");
  EXPECT_EQ(value_of("I-17\n"), "-17");
  EXPECT_EQ(value_of("I00\n"), "False");
  EXPECT_EQ(value_of("I01\n"), "True");
  EXPECT_EQ(value_of("L-9000000000L\n"), "-9000000000");
  EXPECT_EQ(value_of("G\x3f\xf8\0\0\0\0\0\0"s), "real 1.5");
}

TEST(PickleReaderTest, ReadsLongIntegers) {
  EXPECT_EQ(value_of("\x8a\0"s), "0");
  EXPECT_EQ(value_of("\x8a\x01\xff"), "-1");
  EXPECT_EQ(value_of("\x8a\x02\xff\x00"s), "255");
  EXPECT_EQ(value_of("\x8a\x08" + raw(std::int64_t{-3} << 40)),
            std::to_string(std::int64_t{-3} << 40));
  EXPECT_EQ(value_of("\x8a\x09" + std::string(9, '\x7f')), "long9");
  EXPECT_EQ(value_of("\x8b" + raw(std::int32_t{2}) + "\x01\x01"), "257");
  EXPECT_THAT(corrupt("\x8b" + raw(std::int32_t{-2})),
              HasSubstr("negative length"));
}

TEST(PickleReaderTest, ReadsTextsAndBytes) {
  EXPECT_EQ(value_of(pickle_text("abc")), "'abc'");
  EXPECT_EQ(value_of("\x8c\x02hi"), "'hi'");
  EXPECT_EQ(value_of("\x8d" + raw(std::uint64_t{2}) + "hi"), "'hi'");
  EXPECT_EQ(value_of("U\x02hi"), "'hi'");
  EXPECT_EQ(value_of("T" + raw(std::uint32_t{2}) + "hi"), "'hi'");
  EXPECT_EQ(value_of("S'hi'\n"), "'hi'");
  EXPECT_EQ(value_of("S\"hi\"\n"), "'hi'");
  EXPECT_EQ(value_of("Vhi\n"), "'hi'");
  EXPECT_EQ(value_of("C\x02hi"), "b'hi'");
  EXPECT_EQ(value_of("B" + raw(std::uint32_t{2}) + "hi"), "b'hi'");
  EXPECT_EQ(value_of("\x8e" + raw(std::uint64_t{2}) + "hi"), "b'hi'");
  EXPECT_EQ(value_of("\x96" + raw(std::uint64_t{2}) + "hi"), "b'hi'");
}

TEST(PickleReaderTest, RefusesTextsOfProtocol0ItCannotRead) {
  EXPECT_THAT(corrupt("Shi\n"), HasSubstr("without quotes"));
  EXPECT_THAT(corrupt("S'\n"), HasSubstr("without quotes"));
  EXPECT_THAT(unsupported("S'\\x41'\n"), HasSubstr("escapes"));
  EXPECT_THAT(unsupported("V\\u0041\n"), HasSubstr("escapes"));
  EXPECT_THAT(corrupt("Shi"), HasSubstr("line without an end"));
  EXPECT_THAT(corrupt("I1x\n"), HasSubstr("no whole number"));
  EXPECT_THAT(corrupt("I99999999999999999999\n"), HasSubstr("64 bits"));
}

TEST(PickleReaderTest, ReadsContainers) {
  EXPECT_EQ(value_of(")"), "()");
  EXPECT_EQ(value_of("K\1\x85"), "(1)");
  EXPECT_EQ(value_of("K\1K\2\x86"), "(1,2)");
  EXPECT_EQ(value_of("K\1K\2K\3\x87"), "(1,2,3)");
  EXPECT_EQ(value_of("(K\1K\2K\3K\4t"), "(1,2,3,4)");
  EXPECT_EQ(value_of("]"), "[]");
  EXPECT_EQ(value_of("(K\1K\2l"), "[1,2]");
  EXPECT_EQ(value_of("]K\1a(K\2K\3e"), "[1,2,3]");
  EXPECT_EQ(value_of("}"), "{}");
  EXPECT_EQ(value_of("(K\1K\2d"), "{1,2}");
  EXPECT_EQ(value_of("}K\1K\2s(K\3K\4K\5K\6u"), "{1,2,3,4,5,6}");
  EXPECT_EQ(value_of("\x8f(K\1K\2\x90"), "set(1,2)");
  EXPECT_EQ(value_of("(K\1\x91"), "set(1)");
}

TEST(PickleReaderTest, WorksTheStack) {
  EXPECT_EQ(value_of("K\1K\2"
                     "0"),
            "1");
  EXPECT_EQ(value_of("K\1(0"), "1");
  EXPECT_EQ(value_of("K\1(K\2K\3"
                     "1"),
            "1");
  EXPECT_EQ(value_of("K\1"
                     "2\x86"),
            "(1,1)");
}

TEST(PickleReaderTest, WorksTheMemo) {
  EXPECT_EQ(value_of("K\7q\0h\0\x86"s), "(7,7)");
  EXPECT_EQ(value_of("K\7r" + raw(std::uint32_t{300}) + "j" +
                     raw(std::uint32_t{300}) + "\x86"),
            "(7,7)");
  EXPECT_EQ(value_of("K\7p12\ng12\n\x86"), "(7,7)");
  EXPECT_EQ(value_of("K\7\x94K\x08\x94h\1h\0\x87\x86"s), "(7,(8,8,7))");
}

TEST(PickleReaderTest, KeepsPersistentIds) {
  EXPECT_EQ(value_of("K\1K\2\x86Q"), "<(1,2)>");
}

TEST(PickleReaderTest, WritesCallsDown) {
  const auto size = testing::pickle_global("torch", "Size");
  EXPECT_EQ(value_of(size + "K\3\x85\x85R"), "Size((3))");
  EXPECT_EQ(value_of(size + "K\3\x85\x85\x81"), "Size((3))");
  EXPECT_EQ(value_of(size + ")}\x92"), "Size()");
  EXPECT_EQ(value_of("\x8c\5torch\x8c\4Size\x93)R"), "Size()");
  EXPECT_EQ(value_of(testing::pickle_global("torch", "float16")),
            "torch.float16");
}

TEST(PickleReaderTest, MakesDictsOfMappings) {
  const auto ordered = testing::pickle_global("collections", "OrderedDict");
  EXPECT_EQ(value_of(ordered + ")RK\1K\2s"), "{1,2}");
  EXPECT_EQ(value_of(ordered + ")RK\1K\2s}X\1\0\0\0mNsb"s), "{1,2}");
  // As Python 2 has it.
  EXPECT_EQ(value_of(ordered + "](](K\1K\2e](K\3K\4ee\x85R"), "{1,2,3,4}");
  EXPECT_THAT(unsupported(ordered + "K\1\x85R"), HasSubstr("than pairs"));
  EXPECT_THAT(unsupported(ordered + "]K\1a\x85R"), HasSubstr("than pairs"));
  EXPECT_THAT(unsupported(ordered + "]]a\x85R"), HasSubstr("than pairs"));
  EXPECT_THAT(unsupported(ordered + "]]\x86R"), HasSubstr("than pairs"));
}

TEST(PickleReaderTest, TellsWhereAPickleEnds) {
  EXPECT_EQ(read_pickle("\x80\x02K\1.K\2.", "x", kAllowed).size(), 5U);
  EXPECT_EQ(read("\x80\x05\x95" + raw(std::uint64_t{3}) + "K\1."), "1");
}

TEST(PickleReaderTest, RefusesNewerProtocols) {
  EXPECT_THAT(unsupported("\x80\x06N"), HasSubstr("protocol 6"));
}

TEST(PickleReaderTest, RefusesBytesThatAreNoPickle) {
  EXPECT_THAT(corrupt("\xff"), HasSubstr("unknown opcode 255 (at byte 3)"));
  EXPECT_THAT(corrupt(""), HasSubstr("does not end with one value"));
  EXPECT_THAT(corrupt("K\1K\2"), HasSubstr("does not end with one value"));
  EXPECT_THAT(corrupt("K\1("), HasSubstr("does not end with one value"));
  EXPECT_THAT(corrupt("\x95" + raw(std::uint64_t{99}) + "N"),
              HasSubstr("cut short in a frame"));
}

TEST(PickleReaderTest, RefusesToTakeWhatIsNotThere) {
  const std::vector<std::string> empty = {
      "0",      "2",        "\x85",    "K\1\x86", "K\1K\2\x87",
      "K\1R",   "K\1b",     "K\1\x93", "\x81",    "\x92",
      "Q",      "q\0"s,     "\x94",    "a",       "K\1s",
      "t",      "l",        "d",       "u",       "e",
      "\x90",   "\x91",     "1",       "o",       std::string("(00"),
      "](K\1a", "K\1(\x85", "K\1K\2(R"};
  for (const auto& code : empty) {
    SCOPED_TRACE(code);
    EXPECT_THAT(corrupt(code), HasSubstr("its pickle "));
  }
  EXPECT_THAT(corrupt("h\0"s), HasSubstr("recalls value 0"));
  EXPECT_THAT(corrupt("g-1\n"), HasSubstr("recalls value"));
  EXPECT_THAT(corrupt("j\xff\xff\xff\xff"), HasSubstr("recalls value"));
  EXPECT_THAT(corrupt("K\1q\5h\4"), HasSubstr("recalls value 4"));
}

TEST(PickleReaderTest, RefusesItemsInWhatHoldsNone) {
  EXPECT_THAT(corrupt("}K\1a"), HasSubstr("adds items to a dict"));
  EXPECT_THAT(corrupt(")(K\1e"), HasSubstr("adds items to a tuple"));
  EXPECT_THAT(corrupt("]K\1K\2s"), HasSubstr("adds items to a list"));
  EXPECT_THAT(corrupt("N(K\1K\2u"), HasSubstr("adds items to None"));
  EXPECT_THAT(corrupt("](K\1\x90"), HasSubstr("adds items to a list"));
  EXPECT_THAT(corrupt("}(K\1u"), HasSubstr("key without a value"));
  EXPECT_THAT(corrupt("(K\1d"), HasSubstr("key without a value"));
}

TEST(PickleReaderTest, RefusesWhatLiesElsewhere) {
  EXPECT_THAT(unsupported("Pabc\n"), HasSubstr("\"abc\""));
  EXPECT_THAT(unsupported("\x97"), HasSubstr("buffer"));
  EXPECT_THAT(unsupported("N\x98"), HasSubstr("buffer"));
  EXPECT_THAT(unsupported("F1.5\n"), HasSubstr("protocol 0"));
}

TEST(PickleReaderTest, HoldsValuesThatHoldThemselves) {
  EXPECT_EQ(value_of("]q\0h\0a"s), "[[[[...]]]]");
  EXPECT_EQ(value_of("}q\0K\1h\0s"s), "{1,{1,{1,{...,...}}}}");
}

TEST(PickleReaderTest, LetsGoOfDeepNestsWithoutRecursion) {
  std::string deep = "]";
  for (int i = 0; i < 1'000'000; ++i) deep += "\x85";
  const auto pickle = read_pickle(pickle_of(deep), "x", kAllowed);
  EXPECT_EQ(pickle.values().size(), 1'000'001U);
}

TEST(PickleReaderTest, BoundsWhatAPickleTakes) {
  std::string many;
  EXPECT_THAT(unsupported(std::string(2'000'001, ']')),
              HasSubstr("more than 2000000 values"));
  EXPECT_THAT(unsupported(std::string(10'001, '(')), HasSubstr("nests more"));
  EXPECT_THAT(unsupported("N" + std::string(4'000'000, '2')),
              HasSubstr("too deep a stack"));
  EXPECT_THAT(unsupported("Nr\xff\xff\xff\x7f"), HasSubstr("by number"));
  EXPECT_THAT(unsupported("Np-1\n"), HasSubstr("by number"));
  // One list, over and over in others: memory would grow with the square.
  std::string list = "(" + std::string(1000, 'N') + "lq\0"s;
  for (int i = 0; i < 9000; ++i) list += "]((" + std::string(998, 'N') + "te";
  EXPECT_THAT(unsupported(list), HasSubstr("more than"));
  std::string pairs = "]q\0("s;
  for (int i = 0; i < 1000; ++i) pairs += "NN\x86";
  pairs += "e";
  const auto copy =
      testing::pickle_global("collections", "OrderedDict") + "h\0\x85R0"s;
  for (int i = 0; i < 4100; ++i) pairs += copy;
  EXPECT_THAT(unsupported(pairs), HasSubstr("more than 8000000 items"));
}

TEST(PickleReaderTest, RefusesLongerPicklesThanAnyTorchWrites) {
  const auto size = std::uint32_t{65} << 20;
  EXPECT_THAT(unsupported("B" + raw(size) + std::string(size, 'x')),
              HasSubstr("is longer than"));
}

TEST(PickleReaderTest, RefusesEveryCut) {
  const auto whole = "\x80\x05\x95" + raw(std::uint64_t{0}) +
                     "(N\x8a\x01\x05U\2hiX\1\0\0\0a"s +
                     testing::pickle_global("torch", "Size") +
                     "K\3\x85\x85RI12\nJ\1\2\3\4t.";
  EXPECT_EQ(read(whole), "(None,5,'hi','a',Size((...)),12,67305985)");
  for (std::size_t size = 0; size < whole.size(); ++size) {
    SCOPED_TRACE(size);
    error_of(ErrorCode::corrupt_file, [&] { read(whole.substr(0, size)); });
  }
}

}  // namespace
}  // namespace llamlx
