#include "tokenizer/oniguruma_pattern.h"

#include <cctype>
#include <utility>
#include <vector>

#include "base/concat.h"
#include "base/utf8.h"
#include "tokenizer/oniguruma_class.h"

namespace llamlx {
namespace {

constexpr std::size_t kMaxNesting = 64;
constexpr std::size_t kMostDigits = 5;  // of a number of repetitions

// Outside of brackets Oniguruma looks Latin-1 up in a table of its own, where
// superscripts and fractions are parts of words.
constexpr std::string_view kLatin1Word = R"(\x{b2}\x{b3}\x{b9}\x{bc}-\x{be})";

bool is_digit(char c) { return c >= '0' && c <= '9'; }

class Translator {
 public:
  explicit Translator(std::string_view pattern) : in_{pattern} {}

  std::string run() {
    if (!is_valid_utf8(in_.text)) throw PatternError("is not UTF-8");
    while (!in_.at_end()) element();
    if (!groups_.empty()) throw PatternError("lacks a closing parenthesis");
    return std::move(out_);
  }

 private:
  void atom(std::string_view text);
  void element();
  void check_folding(char previous, std::string_view literal);
  void open_group();
  void close_group();
  void group_options();
  void quantifier(std::string_view text, bool may_be_possessive,
                  bool may_be_lazy);
  bool interval();
  void escape();
  void escaped_letter(char letter);

  PatternCursor in_;
  std::string out_;
  std::vector<std::size_t> groups_;  // where each open group begins in out_
  std::size_t atom_begin_ = 0;       // where what can be repeated begins
  bool has_atom_ = false;
  bool repeated_ = false;  // it has a quantifier already
  bool ignores_case_ = false;
  char literal_ = '\0';  // the letter that stands just before
};

void Translator::atom(std::string_view text) {
  atom_begin_ = out_.size();
  has_atom_ = true;
  repeated_ = false;
  out_ += text;
}

void Translator::element() {
  const char c = in_.peek();
  const char previous = std::exchange(literal_, '\0');
  switch (c) {
    case '\\':
      return escape();
    case '[':
      ++in_.at;
      return atom(rewrite_class(in_));
    case '(':
      return open_group();
    case ')':
      return close_group();
    case '|':
      ++in_.at;
      out_ += c;
      has_atom_ = false;
      return;
    case '*':
    case '+':
    case '?':
      ++in_.at;
      return quantifier(std::string_view(&c, 1), true, true);
    case '{':
      if (interval()) return;
      ++in_.at;
      return atom("\\{");
    default:
      break;
  }
  const std::size_t length = utf8_length(c);
  check_folding(previous, in_.text.substr(in_.at, length));
  atom(in_.text.substr(in_.at, length));
  in_.at += length;
}

// Without case, "ss" matches U+00DF to Oniguruma, and the like: characters that
// fold to several. PCRE2 folds one to one.
void Translator::check_folding(char previous, std::string_view literal) {
  const auto lower = [](char c) {
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  };
  if (!ignores_case_) return;
  literal_ = literal.size() == 1 ? lower(literal[0]) : '\0';
  const std::string pair{previous, literal_};
  for (const std::string_view folded : {"ss", "st", "ff", "fi", "fl"}) {
    if (pair == folded) {
      throw PatternError(concat("ignores the case of \"", folded, "\""));
    }
  }
  if (literal == "\xC3\x9F") throw PatternError("ignores the case of U+00DF");
}

void Translator::open_group() {
  if (groups_.size() >= kMaxNesting) throw PatternError("nests too deeply");
  groups_.push_back(out_.size());
  ++in_.at;
  has_atom_ = false;
  if (in_.peek() == '*') throw PatternError("uses a callout, \"(*\"");
  if (in_.peek() != '?') {
    out_ += '(';
    return;
  }
  for (const std::string_view kind : {"?:", "?=", "?!", "?>", "?<=", "?<!"}) {
    if (in_.accept(kind)) {
      out_ += concat("(", kind);
      return;
    }
  }
  if (in_.accept("?<")) {
    out_ += concat("(?<", in_.until('>'), ">");
  } else if (in_.accept("?#")) {
    in_.until(')');
    groups_.pop_back();
  } else {
    ++in_.at;
    group_options();
  }
}

void Translator::group_options() {
  std::string options;
  while (!in_.at_end() && in_.peek() != ':' && in_.peek() != ')') {
    const char option = in_.text[in_.at++];
    if (option == 'm') {
      options += 's';  // dots match newlines
    } else if (option == 'i' || option == '-') {
      ignores_case_ = ignores_case_ || option == 'i';
      options += option;
    } else {
      throw PatternError(concat("uses the group \"(?", option, "\""));
    }
  }
  out_ += concat("(?", options);
  if (in_.accept(":")) {
    out_ += ':';
  } else if (in_.accept(")")) {
    out_ += ')';
    groups_.pop_back();
  } else {
    throw PatternError("lacks a closing parenthesis");
  }
}

void Translator::close_group() {
  if (groups_.empty()) throw PatternError("closes a group never opened");
  ++in_.at;
  out_ += ')';
  atom_begin_ = groups_.back();
  groups_.pop_back();
  has_atom_ = true;
  repeated_ = false;
}

void Translator::quantifier(std::string_view text, bool may_be_possessive,
                            bool may_be_lazy) {
  if (!has_atom_) throw PatternError("repeats nothing");
  if (repeated_) {
    out_.insert(atom_begin_, "(?:");
    out_ += ')';
  }
  out_ += text;
  repeated_ = true;
  if ((may_be_possessive && in_.peek() == '+') ||
      (may_be_lazy && in_.peek() == '?')) {
    out_ += in_.text[in_.at++];
  }
}

// {n} {n,} {n,m} {,m}; anything else is a brace that stands for itself.
bool Translator::interval() {
  PatternCursor cursor{in_.text, in_.at + 1};
  const auto number = [&] {
    const std::size_t begin = cursor.at;
    while (is_digit(cursor.peek())) ++cursor.at;
    return std::string(cursor.text.substr(begin, cursor.at - begin));
  };
  const std::string low = number();
  const bool range = cursor.accept(",");
  const std::string high = range ? number() : "";
  if (!cursor.accept("}") || (low.empty() && high.empty())) return false;
  if (low.size() > kMostDigits || high.size() > kMostDigits) {
    throw PatternError("repeats too often");
  }
  if (!low.empty() && !high.empty() && std::stoi(low) > std::stoi(high)) {
    throw PatternError("repeats from more to fewer times");
  }
  in_.at = cursor.at;
  const std::string from = low.empty() ? "0" : low;
  // "{n}?" is optional to Oniguruma, and no interval is possessive.
  quantifier(range ? concat("{", from, ",", high, "}") : concat("{", from, "}"),
             false, range);
  return true;
}

void Translator::escape() {
  if (in_.at + 1 >= in_.text.size()) {
    throw PatternError("ends with a backslash");
  }
  ++in_.at;
  const char c = in_.peek();
  if (!std::isalnum(static_cast<unsigned char>(c))) {
    return atom(escaped(next_code_point(in_.text, in_.at)));
  }
  if (c >= '1' && c <= '9') {
    const std::size_t begin = in_.at;
    while (is_digit(in_.peek())) ++in_.at;
    return atom(concat("\\g{", in_.text.substr(begin, in_.at - begin), "}"));
  }
  ++in_.at;
  escaped_letter(c);
}

void Translator::escaped_letter(char letter) {
  if (auto set = read_set_escape(in_, letter)) {
    if (letter == 'w' || letter == 'W') set->members += kLatin1Word;
    return atom(set->pattern());
  }
  const std::string word =
      concat("[", read_set_escape(in_, 'w')->members, kLatin1Word, "]");
  switch (letter) {
    case 'b':
      return atom(concat("(?:(?<=", word, ")(?!", word, ")|(?<!", word,
                         ")(?=", word, "))"));
    case 'B':
      return atom(concat("(?:(?<=", word, ")(?=", word, ")|(?<!", word, ")(?!",
                         word, "))"));
    case 'A':
    case 'z':
    case 'Z':
    case 'R':
      return atom(concat("\\", letter));
    case 'N':
      return atom("[^\\n]");
    case 'O':
      return atom("(?s:.)");
    case 'k':
    case 'g':
      if (!in_.accept("<")) throw PatternError("refers to no group");
      return atom(concat("\\", letter, "<", in_.until('>'), ">"));
    default:
      return atom(escaped(read_character_escape(in_, letter)));
  }
}

}  // namespace

std::string oniguruma_to_pcre2(std::string_view pattern) {
  return Translator(pattern).run();
}

}  // namespace llamlx
