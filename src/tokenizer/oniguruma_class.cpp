#include "tokenizer/oniguruma_class.h"

#include <array>
#include <cctype>
#include <cstdint>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/utf8.h"
#include "tokenizer/oniguruma_pattern.h"

namespace llamlx {
namespace {

constexpr int kMaxNesting = 64;

struct NamedSet {
  std::string_view name;
  std::string_view members;
};

// Spelt out because PCRE2's own \s and \w differ: to it U+180E is space, and
// marks are not parts of words.
constexpr std::string_view kSpace = R"(\p{WSpace})";
constexpr std::string_view kWord = R"(\p{Alphabetic}\p{M}\p{Nd}\p{Pc})";
constexpr std::string_view kDigit = R"(\p{Nd})";
constexpr std::string_view kHex = "0-9A-Fa-f";
// With what was made alphabetic, and lower case, after PCRE2 10.42's
// Unicode 14.
constexpr std::string_view kAlpha =
    R"(\p{Alphabetic}\x{363}-\x{36f}\x{c04}\x{f82}\x{f83}\x{1dd3}-\x{1de6})"
    R"(\x{11080}\x{11081})";
constexpr std::string_view kAlnum =
    R"(\p{Alphabetic}\x{363}-\x{36f}\x{c04}\x{f82}\x{f83}\x{1dd3}-\x{1de6})"
    R"(\x{11080}\x{11081}\p{Nd})";
constexpr std::string_view kLower =
    R"(\p{Lowercase}\x{10fc}\x{a7f2}-\x{a7f4}\x{ab69})";

constexpr std::array kNamedSets = {
    NamedSet{"alpha", kAlpha},
    NamedSet{"alphabetic", kAlpha},
    NamedSet{"alnum", kAlnum},
    NamedSet{"upper", R"(\p{Uppercase})"},
    NamedSet{"lower", kLower},
    NamedSet{"lowercase", kLower},
    NamedSet{"digit", kDigit},
    NamedSet{"space", kSpace},
    NamedSet{"word", kWord},
    NamedSet{"xdigit", kHex},
    NamedSet{"ascii", R"(\x{00}-\x{7f})"},
    NamedSet{"cntrl", R"(\p{Cc})"},
    NamedSet{"punct", R"(\p{P}\p{S})"},
};

// Names that mean the same to Oniguruma and PCRE2. Any other is a script.
constexpr std::array<std::string_view, 40> kProperties = {
    "c",  "cc", "cf", "cn", "co", "cs", "l",  "ll",  "lm",        "lo",
    "lt", "lu", "m",  "mc", "me", "mn", "n",  "nd",  "nl",        "no",
    "p",  "pc", "pd", "pe", "pf", "pi", "po", "ps",  "s",         "sc",
    "sk", "sm", "so", "z",  "zl", "zp", "zs", "any", "uppercase", "whitespace"};

bool is_alnum(char c) {
  return std::isalnum(static_cast<unsigned char>(c)) != 0;
}

bool is_hex(char c) {
  return std::isxdigit(static_cast<unsigned char>(c)) != 0;
}

// Names are compared without case, spaces, hyphens and underscores.
std::string folded(std::string_view name) {
  std::string result;
  for (const char c : name) {
    if (c == '_' || c == ' ' || c == '-') continue;
    if (!is_alnum(c)) throw PatternError(concat("names the property ", name));
    result += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  return result;
}

CharacterSet read_property(PatternCursor& cursor, bool negated) {
  if (!cursor.accept("{")) throw PatternError("names no property after \\p");
  std::string_view text = cursor.until('}');
  if (text.starts_with('^')) {
    negated = !negated;
    text.remove_prefix(1);
  }
  const std::string name = folded(text);
  if (name == "punct") return {R"(\p{P})", negated};  // [:punct:] is more
  if (name == "word") throw PatternError("uses \\p{Word}");  // not quite \w
  for (const NamedSet& set : kNamedSets) {
    if (set.name == name) return {std::string(set.members), negated};
  }
  const char* sign = negated ? "\\P{" : "\\p{";
  for (const std::string_view known : kProperties) {
    if (known == name) return {concat(sign, name, "}")};
  }
  // PCRE2 alone would also take characters that the script only shares.
  return {concat(sign, "sc:", name, "}")};
}

std::uint32_t hex_value(std::string_view digits) {
  std::uint32_t value = 0;
  for (const char c : digits) {
    if (!is_hex(c) || value > 0x10FFFF) {
      throw PatternError("gives a code point that is not one");
    }
    const int digit = c <= '9' ? c - '0' : (c & 0xDF) - 'A' + 10;
    value = value * 16 + static_cast<std::uint32_t>(digit);
  }
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  if (digits.empty() || value > 0x10FFFF || surrogate) {
    throw PatternError("gives a code point that is not one");
  }
  return value;
}

// Classes that are joined by standing next to each other.
struct Union {
  std::string members;
  std::vector<std::string> nested;  // patterns of one character each

  std::string pattern() const {
    if (nested.empty()) return concat("[", members, "]");
    std::string alternatives =
        members.empty() ? std::string() : concat("[", members, "]");
    for (const std::string& one : nested) {
      if (!alternatives.empty()) alternatives += '|';
      alternatives += one;
    }
    return concat("(?:", alternatives, ")");
  }
};

class ClassReader {
 public:
  explicit ClassReader(PatternCursor& cursor) : in_(cursor) {}

  // "[" has been read.
  std::string read(int depth);

 private:
  Union read_union(int depth);
  void read_item(Union& part);
  std::optional<char32_t> read_character(Union& part);
  std::string_view read_posix();

  PatternCursor& in_;
};

std::string ClassReader::read(int depth) {
  if (depth > kMaxNesting) throw PatternError("nests too deeply");
  const bool negated = in_.accept("^");
  if (in_.peek() == ']') throw PatternError("has an empty character class");
  std::vector<Union> parts{read_union(depth)};
  while (in_.accept("&&")) parts.push_back(read_union(depth));
  if (!in_.accept("]")) throw PatternError("lacks a closing bracket");
  for (const Union& part : parts) {
    if (part.members.empty() && part.nested.empty()) {
      throw PatternError("intersects a class with nothing");
    }
  }
  if (parts.size() == 1 && parts[0].nested.empty()) {
    return concat(negated ? "[^" : "[", parts[0].members, "]");
  }
  std::string all;
  for (std::size_t i = 1; i < parts.size(); ++i) {
    all += concat("(?=", parts[i].pattern(), ")");
  }
  all += parts[0].pattern();
  return negated ? concat("(?:(?!", all, ")(?s:.))") : concat("(?:", all, ")");
}

Union ClassReader::read_union(int depth) {
  Union part;
  while (!in_.at_end() && in_.peek() != ']' &&
         !(in_.peek() == '&' && in_.peek(1) == '&')) {
    if (in_.accept("[:")) {
      part.members += read_posix();
    } else if (in_.accept("[")) {
      part.nested.push_back(read(depth + 1));
    } else {
      read_item(part);
    }
  }
  return part;
}

std::string_view ClassReader::read_posix() {
  const std::string_view name = in_.until(':');
  if (!in_.accept("]")) throw PatternError("has a broken POSIX class");
  for (const NamedSet& set : kNamedSets) {
    if (set.name == name) return set.members;
  }
  throw PatternError(concat("uses the class [:", name, ":]"));
}

void ClassReader::read_item(Union& part) {
  const auto first = read_character(part);
  if (!first) return;
  part.members += escaped(*first);
  if (in_.peek() != '-' || in_.peek(1) == ']' || in_.peek(1) == '\0') return;
  ++in_.at;
  const auto last = read_character(part);
  if (!last || *last < *first) throw PatternError("has a broken range");
  part.members += concat("-", escaped(*last));
}

// One character; or none, when an escape has added a set to `part`.
std::optional<char32_t> ClassReader::read_character(Union& part) {
  if (in_.peek() != '\\') return next_code_point(in_.text, in_.at);
  ++in_.at;
  if (in_.at_end()) throw PatternError("ends with a backslash");
  if (!is_alnum(in_.peek())) return next_code_point(in_.text, in_.at);
  const char letter = in_.text[in_.at++];
  if (letter == 'b') return 0x08;
  const auto set = read_set_escape(in_, letter);
  if (!set) return read_character_escape(in_, letter);
  if (set->negated) {
    part.nested.push_back(set->pattern());
  } else {
    part.members += set->members;
  }
  return {};
}

}  // namespace

bool PatternCursor::accept(std::string_view expected) {
  if (text.substr(at, expected.size()) != expected) return false;
  at += expected.size();
  return true;
}

std::string_view PatternCursor::until(char end) {
  const std::size_t stop = text.find(end, at);
  if (stop == std::string_view::npos) {
    throw PatternError(concat("lacks a closing '", end, "'"));
  }
  const auto before = text.substr(at, stop - at);
  at = stop + 1;
  return before;
}

std::string CharacterSet::pattern() const {
  return concat(negated ? "[^" : "[", members, "]");
}

std::optional<CharacterSet> read_set_escape(PatternCursor& cursor,
                                            char letter) {
  const bool negated = std::isupper(static_cast<unsigned char>(letter)) != 0;
  switch (letter) {
    case 's':
    case 'S':
      return CharacterSet{std::string(kSpace), negated};
    case 'w':
    case 'W':
      return CharacterSet{std::string(kWord), negated};
    case 'd':
    case 'D':
      return CharacterSet{std::string(kDigit), negated};
    case 'h':
    case 'H':
      return CharacterSet{std::string(kHex), negated};
    case 'p':
    case 'P':
      return read_property(cursor, negated);
    default:
      return {};
  }
}

char32_t read_character_escape(PatternCursor& cursor, char letter) {
  constexpr std::array<std::pair<char, char32_t>, 7> kNamed{{{'t', 0x09},
                                                             {'n', 0x0A},
                                                             {'v', 0x0B},
                                                             {'f', 0x0C},
                                                             {'r', 0x0D},
                                                             {'a', 0x07},
                                                             {'e', 0x1B}}};
  for (const auto& [name, code_point] : kNamed) {
    if (name == letter) return code_point;
  }
  if (letter == 'x' && cursor.accept("{")) return hex_value(cursor.until('}'));
  const std::size_t most = letter == 'x' ? 2 : letter == 'u' ? 4 : 0;
  std::string digits;
  while (digits.size() < most && is_hex(cursor.peek())) {
    digits += cursor.text[cursor.at++];
  }
  // "\xE9" is a raw byte to Oniguruma, of which a character may be built.
  if (digits.empty() || (letter == 'x' && hex_value(digits) > 0x7F)) {
    throw PatternError(concat("uses the escape \"\\", letter, "\""));
  }
  return hex_value(digits);
}

std::string escaped(char32_t code_point) {
  constexpr std::string_view kDigits = "0123456789abcdef";
  std::string text;
  do {
    text += kDigits[code_point & 15];
    code_point >>= 4;
  } while (code_point != 0);
  return concat("\\x{", std::string(text.rbegin(), text.rend()), "}");
}

std::string rewrite_class(PatternCursor& cursor) {
  return ClassReader(cursor).read(0);
}

}  // namespace llamlx
