#include "tokenizer/pre_tokenizer.h"

#include <array>
#include <utility>

#include "base/concat.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/metaspace.h"
#include "tokenizer/text_pattern.h"
#include "tokenizer/unicode.h"

namespace llamlx {
namespace {

using Piece = SplitText::Piece;

void split_pieces(SplitText& text, const TextPattern& pattern,
                  SplitBehavior behavior, bool invert = false) {
  std::vector<Piece> pieces;
  for (const Piece& piece : text.pieces) {
    auto parts = pattern.find(text.view(piece));
    if (invert) {
      for (TextPart& part : parts) part.is_match = !part.is_match;
    }
    for (const TextRange& range : split(parts, behavior)) {
      pieces.push_back({piece.begin + range.begin, piece.begin + range.end,
                        piece.at_start && range.begin == 0});
    }
  }
  text.pieces = std::move(pieces);
}

// Replaces the text of every piece by what `rewrite` makes of it.
template <typename Rewrite>
void rewrite_pieces(SplitText& text, Rewrite rewrite) {
  std::string rewritten;
  rewritten.reserve(2 * text.text.size());
  for (Piece& piece : text.pieces) {
    const std::size_t begin = rewritten.size();
    rewritten += rewrite(text.view(piece), piece.at_start);
    piece.begin = begin;
    piece.end = rewritten.size();
  }
  text.text = std::move(rewritten);
}

class Sequence : public PreTokenizer {
 public:
  explicit Sequence(const Component& component) {
    for (const Component& child : component.children("pretokenizers")) {
      steps_.push_back(make_pre_tokenizer(child));
    }
  }
  void apply(SplitText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<PreTokenizer>> steps_;
};

class ByteLevel : public PreTokenizer {
 public:
  explicit ByteLevel(const Component& component)
      : add_prefix_space_(component.required<bool>("add_prefix_space")) {
    if (!component.optional<bool>("use_regex").value_or(true)) return;
    // GPT-2's.
    words_.emplace(Regex(R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+)"
                         R"(| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)"));
  }

  void apply(SplitText& text) const override {
    if (add_prefix_space_) {
      rewrite_pieces(text, [](std::string_view piece, bool) {
        return concat(piece.empty() || piece[0] == ' ' ? "" : " ", piece);
      });
    }
    if (words_) split_pieces(text, *words_, SplitBehavior::isolated);
    rewrite_pieces(text, [](std::string_view piece, bool) {
      return to_byte_level(piece);
    });
  }

 private:
  bool add_prefix_space_;
  std::optional<TextPattern> words_;
};

class Metaspace : public PreTokenizer {
 public:
  explicit Metaspace(const Component& component)
      : settings_(read_metaspace(component)), mark_(settings_.replacement) {}

  void apply(SplitText& text) const override {
    const TextPattern space(" ");
    rewrite_pieces(text, [&](std::string_view piece, bool at_start) {
      std::string marked =
          replace_all(piece, space.find(piece), settings_.replacement);
      const bool prepends =
          settings_.scheme == PrependScheme::always ||
          (settings_.scheme == PrependScheme::first && at_start);
      if (prepends && !marked.empty() &&
          !marked.starts_with(settings_.replacement)) {
        marked.insert(0, settings_.replacement);
      }
      return marked;
    });
    if (settings_.split) {
      split_pieces(text, mark_, SplitBehavior::merged_with_next);
    }
  }

 private:
  MetaspaceSettings settings_;
  TextPattern mark_;
};

class Split : public PreTokenizer {
 public:
  explicit Split(const Component& component)
      : pattern_(TextPattern::read(component, "pattern")),
        behavior_(read_split_behavior(component, "behavior")),
        invert_(component.required<bool>("invert")) {}

  void apply(SplitText& text) const override {
    split_pieces(text, pattern_, behavior_, invert_);
  }

 private:
  TextPattern pattern_;
  SplitBehavior behavior_;
  bool invert_;
};

class Digits : public PreTokenizer {
 public:
  explicit Digits(const Component& component)
      : behavior_(component.required<bool>("individual_digits")
                      ? SplitBehavior::isolated
                      : SplitBehavior::contiguous) {}

  void apply(SplitText& text) const override {
    split_pieces(text, TextPattern(is_numeric), behavior_);
  }

 private:
  SplitBehavior behavior_;
};

class Punctuation : public PreTokenizer {
 public:
  explicit Punctuation(const Component& component) {
    if (component.optional<std::string>("behavior")) {
      behavior_ = read_split_behavior(component, "behavior");
    }
  }

  void apply(SplitText& text) const override {
    split_pieces(text, TextPattern(is_punctuation), behavior_);
  }

 private:
  SplitBehavior behavior_ = SplitBehavior::isolated;
};

class Whitespace : public PreTokenizer {
 public:
  explicit Whitespace(const Component&) {}

  void apply(SplitText& text) const override {
    split_pieces(text, words_, SplitBehavior::removed, true);
  }

 private:
  // "\w+|[^\w\s]+" to Rust's regex crate, whose \w counts the joiners U+200C
  // and U+200D.
  const TextPattern words_{Regex(R"([\w\x{200c}\x{200d}]+)"
                                 R"(|[^\w\s\x{200c}\x{200d}]+)")};
};

class WhitespaceSplit : public PreTokenizer {
 public:
  explicit WhitespaceSplit(const Component&) {}

  void apply(SplitText& text) const override {
    split_pieces(text, TextPattern(is_whitespace), SplitBehavior::removed);
  }
};

template <typename T>
std::unique_ptr<PreTokenizer> make(const Component& component) {
  return std::make_unique<T>(component);
}

using Maker = std::unique_ptr<PreTokenizer> (*)(const Component&);
constexpr std::array<std::pair<std::string_view, Maker>, 8> kMakers{
    {{"Sequence", make<Sequence>},
     {"ByteLevel", make<ByteLevel>},
     {"Metaspace", make<Metaspace>},
     {"Split", make<Split>},
     {"Digits", make<Digits>},
     {"Punctuation", make<Punctuation>},
     {"Whitespace", make<Whitespace>},
     {"WhitespaceSplit", make<WhitespaceSplit>}}};

}  // namespace

std::unique_ptr<PreTokenizer> make_pre_tokenizer(const Component& component) {
  for (const auto& [type, maker] : kMakers) {
    if (type == component.type()) return maker(component);
  }
  component.unsupported_type();
}

}  // namespace llamlx
