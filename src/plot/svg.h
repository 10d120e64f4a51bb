#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llamlx {

/// A drawing in SVG 1.1 that needs nothing outside itself.
///
/// Example:
///     Svg svg(200, 100);
///     svg.text(10, 20, "a < b", {.size = 12});
///     write_file("picture.svg", svg.finish());
///
/// Lengths are pixels, y goes down; colours are "#rrggbb". Texts are UTF-8:
/// what is special in XML is escaped, what XML cannot hold becomes '?'.
class Svg {
 public:
  enum class Anchor { start, middle, end };

  struct TextStyle {
    double size = 12;
    std::string_view colour = "#1f2933";
    Anchor anchor = Anchor::start;
    bool bold = false;
    double turn = 0;  ///< degrees, around its place
  };
  struct LineStyle {
    std::string_view colour = "#1f2933";
    double width = 1;
    std::string_view dashes = "";  ///< "4 3"; empty: one line
  };
  using Point = std::pair<double, double>;

  /// A white sheet.
  Svg(double width, double height);

  void rectangle(double x, double y, double width, double height,
                 std::string_view fill, double opacity = 1);
  void line(Point from, Point to, const LineStyle& style);
  void polyline(const std::vector<Point>& points, const LineStyle& style);
  void circle(Point centre, double radius, std::string_view fill);
  void text(double x, double y, std::string_view content,
            const TextStyle& style);

  /// The document. Nothing can be drawn after.
  std::string finish();

 private:
  std::string body_;
};

/// About how wide a text of this size is drawn, to keep texts apart.
double text_width(std::string_view content, double size);

/// `text` where XML has text or an attribute's value.
std::string xml_escaped(std::string_view text);

}  // namespace llamlx
