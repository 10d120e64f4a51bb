#include "plot/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace llamlx {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

TEST(SvgTest, IsADocumentOfItsOwn) {
  Svg svg(200, 100.5);
  const auto document = svg.finish();
  EXPECT_THAT(document, StartsWith("<?xml version=\"1.0\""));
  EXPECT_THAT(document, HasSubstr("viewBox=\"0 0 200 100.5\""));
  EXPECT_THAT(document, HasSubstr("xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(document, EndsWith("</svg>\n"));
}

TEST(SvgTest, DrawsShapes) {
  Svg svg(10, 10);
  svg.rectangle(1, 2, 3, 4, "#aabbcc", 0.5);
  svg.line({0, 1}, {2, 3.125}, {.colour = "#000000", .dashes = "4 3"});
  svg.polyline({{0, 0}, {1, -0.001}}, {});
  svg.circle({5, 6}, 2, "#123456");
  const auto document = svg.finish();
  EXPECT_THAT(document, HasSubstr("<rect x=\"1\" y=\"2\" width=\"3\" "
                                  "height=\"4\" fill=\"#aabbcc\" "
                                  "fill-opacity=\"0.5\"/>"));
  EXPECT_THAT(document, HasSubstr("y2=\"3.12\""));
  EXPECT_THAT(document, HasSubstr("stroke-dasharray=\"4 3\""));
  EXPECT_THAT(document, HasSubstr("points=\"0,0 1,0\""));
  EXPECT_THAT(document, HasSubstr("<circle cx=\"5\" cy=\"6\" r=\"2\""));
}

TEST(SvgTest, DrawsNoLineOfNoPoints) {
  Svg svg(10, 10);
  svg.polyline({}, {});
  EXPECT_THAT(svg.finish(), Not(HasSubstr("polyline")));
}

TEST(SvgTest, EscapesWhatAModelMayBeCalled) {
  EXPECT_EQ(xml_escaped("a<b> & \"c\""), "a&lt;b&gt; &amp; &quot;c&quot;");
  EXPECT_EQ(xml_escaped("\x1b[31m\n"), "?[31m?");
  EXPECT_EQ(xml_escaped("\xff"), "\xef\xbf\xbd");
  EXPECT_EQ(xml_escaped("\xef\xbf\xbe\xef\xbf\xbf"), "??");
  EXPECT_EQ(xml_escaped("\xc3\xa9"), "\xc3\xa9");
  Svg svg(10, 10);
  svg.text(0, 0, "<script>", {});
  EXPECT_THAT(svg.finish(), Not(HasSubstr("<script>")));
}

TEST(SvgTest, TurnsTextAroundItsPlace) {
  Svg svg(10, 10);
  svg.text(3, 4, "x", {.anchor = Svg::Anchor::middle, .turn = -90});
  EXPECT_THAT(svg.finish(), HasSubstr("text-anchor=\"middle\" "
                                      "transform=\"rotate(-90 3 4)\">x<"));
}

TEST(SvgTest, WidthGrowsWithCharactersNotBytes) {
  EXPECT_EQ(text_width("\xc3\xa9", 10), text_width("e", 10));
  EXPECT_EQ(text_width("ee", 10), 2 * text_width("e", 10));
}

}  // namespace
}  // namespace llamlx
