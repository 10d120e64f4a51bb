#include "tokenizer/normalizer.h"

#include <array>
#include <utility>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/text_pattern.h"
#include "tokenizer/unicode.h"

namespace llamlx {
namespace {

class Sequence : public Normalizer {
 public:
  explicit Sequence(const Component& component) {
    for (const Component& child : component.children("normalizers")) {
      steps_.push_back(make_normalizer(child));
    }
  }
  void apply(NormalizedText& text) const override {
    for (const auto& step : steps_) step->apply(text);
  }

 private:
  std::vector<std::unique_ptr<Normalizer>> steps_;
};

template <NormalizationForm form>
class UnicodeForm : public Normalizer {
 public:
  explicit UnicodeForm(const Component&) {}
  void apply(NormalizedText& text) const override {
    text.text = normalize(text.text, form);
  }
};

class Lowercase : public Normalizer {
 public:
  explicit Lowercase(const Component&) {}
  void apply(NormalizedText& text) const override {
    text.text = to_lowercase(text.text);
  }
};

class StripAccents : public Normalizer {
 public:
  explicit StripAccents(const Component&) {}
  void apply(NormalizedText& text) const override {
    std::string kept;
    for (std::size_t i = 0; i < text.text.size();) {
      const std::size_t begin = i;
      if (!is_combining_mark(next_code_point(text.text, i))) {
        kept.append(text.text, begin, i - begin);
      } else if (begin == 0) {
        text.at_start = false;
      }
    }
    text.text = std::move(kept);
  }
};

class Strip : public Normalizer {
 public:
  explicit Strip(const Component& component)
      : left_(component.required<bool>("strip_left")),
        right_(component.required<bool>("strip_right")) {}

  void apply(NormalizedText& text) const override {
    const std::string& all = text.text;
    std::size_t begin = 0;
    std::size_t end = 0;
    bool leading = true;
    for (std::size_t i = 0; i < all.size();) {
      const bool space = is_whitespace(next_code_point(all, i));
      leading = leading && space;
      if (leading && left_) begin = i;
      if (!space || !right_) end = i;
    }
    if (begin != 0) text.at_start = false;
    text.text = end > begin ? all.substr(begin, end - begin) : std::string();
  }

 private:
  bool left_;
  bool right_;
};

class Prepend : public Normalizer {
 public:
  explicit Prepend(const Component& component)
      : prefix_(component.required<std::string>("prepend")) {}
  void apply(NormalizedText& text) const override {
    if (!text.text.empty()) text.text.insert(0, prefix_);
  }

 private:
  std::string prefix_;
};

class Replace : public Normalizer {
 public:
  explicit Replace(const Component& component)
      : pattern_(TextPattern::read(component, "pattern")),
        content_(component.required<std::string>("content")) {}

  void apply(NormalizedText& text) const override {
    const auto parts = pattern_.find(text.text);
    // What replaces several characters counts as stemming from the last.
    if (!parts.empty() && parts[0].is_match) {
      const std::size_t first = utf8_length(text.text[0]);
      if (content_.empty() || parts[0].end > first) text.at_start = false;
    }
    text.text = replace_all(text.text, parts, content_);
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

class ByteLevel : public Normalizer {
 public:
  explicit ByteLevel(const Component&) {}
  void apply(NormalizedText& text) const override {
    text.text = to_byte_level(text.text);
  }
};

template <typename T>
std::unique_ptr<Normalizer> make(const Component& component) {
  return std::make_unique<T>(component);
}

using Maker = std::unique_ptr<Normalizer> (*)(const Component&);
constexpr std::array<std::pair<std::string_view, Maker>, 11> kMakers{
    {{"Sequence", make<Sequence>},
     {"NFC", make<UnicodeForm<NormalizationForm::nfc>>},
     {"NFD", make<UnicodeForm<NormalizationForm::nfd>>},
     {"NFKC", make<UnicodeForm<NormalizationForm::nfkc>>},
     {"NFKD", make<UnicodeForm<NormalizationForm::nfkd>>},
     {"Lowercase", make<Lowercase>},
     {"StripAccents", make<StripAccents>},
     {"Strip", make<Strip>},
     {"Prepend", make<Prepend>},
     {"Replace", make<Replace>},
     {"ByteLevel", make<ByteLevel>}}};

}  // namespace

std::unique_ptr<Normalizer> make_normalizer(const Component& component) {
  for (const auto& [type, maker] : kMakers) {
    if (type == component.type()) return maker(component);
  }
  component.unsupported_type();
}

}  // namespace llamlx
