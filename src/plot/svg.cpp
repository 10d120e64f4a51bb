#include "plot/svg.h"

#include <cstdio>

#include "base/concat.h"
#include "base/utf8.h"

namespace llamlx {
namespace {

/// Two decimals are below what a screen shows.
std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof(text), "%.2f", value);
  std::string shown = text;
  shown.erase(shown.find_last_not_of('0') + 1);
  if (shown.ends_with('.')) shown.pop_back();
  return shown == "-0" ? "0" : shown;
}

const char* name_of(Svg::Anchor anchor) {
  switch (anchor) {
    case Svg::Anchor::start:
      return "start";
    case Svg::Anchor::middle:
      return "middle";
    case Svg::Anchor::end:
      return "end";
  }
  return "";
}

std::string stroke(const Svg::LineStyle& style) {
  auto text =
      concat(" fill=\"none\" stroke=\"", style.colour, "\" stroke-width=\"",
             number(style.width), "\" stroke-linejoin=\"round\"");
  if (!style.dashes.empty()) {
    text += concat(" stroke-dasharray=\"", style.dashes, '"');
  }
  return text;
}

}  // namespace

Svg::Svg(double width, double height) {
  body_ = concat(
      R"(<?xml version="1.0" encoding="UTF-8"?>)",
      "\n<svg xmlns=\"http://www.w3.org/2000/svg\" version=\"1.1\" width=\"",
      number(width), "\" height=\"", number(height), "\" viewBox=\"0 0 ",
      number(width), ' ', number(height),
      "\" font-family=\"Helvetica, Arial, 'Liberation Sans', 'DejaVu Sans', "
      "sans-serif\">\n");
  rectangle(0, 0, width, height, "#ffffff");
}

void Svg::rectangle(double x, double y, double width, double height,
                    std::string_view fill, double opacity) {
  body_ += concat("<rect x=\"", number(x), "\" y=\"", number(y), "\" width=\"",
                  number(width), "\" height=\"", number(height), "\" fill=\"",
                  fill, '"');
  if (opacity < 1) body_ += concat(" fill-opacity=\"", number(opacity), '"');
  body_ += "/>\n";
}

void Svg::line(Point from, Point to, const LineStyle& style) {
  body_ += concat("<line x1=\"", number(from.first), "\" y1=\"",
                  number(from.second), "\" x2=\"", number(to.first), "\" y2=\"",
                  number(to.second), '"', stroke(style), "/>\n");
}

void Svg::polyline(const std::vector<Point>& points, const LineStyle& style) {
  if (points.empty()) return;
  body_ += "<polyline points=\"";
  for (const auto& [x, y] : points) {
    body_ += concat(number(x), ',', number(y), ' ');
  }
  body_.back() = '"';
  body_ += concat(stroke(style), "/>\n");
}

void Svg::circle(Point centre, double radius, std::string_view fill) {
  body_ += concat("<circle cx=\"", number(centre.first), "\" cy=\"",
                  number(centre.second), "\" r=\"", number(radius),
                  "\" fill=\"", fill, "\" stroke=\"#ffffff\"/>\n");
}

void Svg::text(double x, double y, std::string_view content,
               const TextStyle& style) {
  body_ +=
      concat("<text x=\"", number(x), "\" y=\"", number(y), "\" font-size=\"",
             number(style.size), "\" fill=\"", style.colour, '"');
  if (style.anchor != Anchor::start) {
    body_ += concat(" text-anchor=\"", name_of(style.anchor), '"');
  }
  if (style.bold) body_ += " font-weight=\"bold\"";
  if (style.turn != 0) {
    body_ += concat(" transform=\"rotate(", number(style.turn), ' ', number(x),
                    ' ', number(y), ")\"");
  }
  body_ += concat('>', xml_escaped(content), "</text>\n");
}

std::string Svg::finish() {
  body_ += "</svg>\n";
  return std::move(body_);
}

double text_width(std::string_view content, double size) {
  // Helvetica's mean over words and digits, with some room.
  constexpr double kMean = 0.55;
  double characters = 0;
  for (const char c : content) characters += (c & 0xc0) != 0x80;
  return characters * kMean * size;
}

std::string xml_escaped(std::string_view text) {
  std::string escaped;
  const auto clean = printable(text);
  for (std::size_t at = 0; at < clean.size();) {
    const auto begin = at;
    const auto character = next_code_point(clean, at);
    switch (character) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case 0xfffe:  // the two that are characters of Unicode, and not of XML
      case 0xffff:
        escaped += '?';
        break;
      default:
        escaped += clean.substr(begin, at - begin);
    }
  }
  return escaped;
}

}  // namespace llamlx
