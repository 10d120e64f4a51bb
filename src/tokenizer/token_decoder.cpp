#include "tokenizer/token_decoder.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <utility>

#include "base/concat.h"
#include "base/utf8.h"
#include "tokenizer/byte_level.h"
#include "tokenizer/metaspace.h"
#include "tokenizer/text_pattern.h"

namespace llamlx {
namespace {

class JoinBySpaces : public DecodeStep {
 public:
  void add(std::string token, std::vector<std::string>& out) override {
    out.push_back(std::exchange(first_, false) ? std::move(token)
                                               : concat(" ", token));
  }

 private:
  bool first_ = true;
};

class ByteLevel : public DecodeStep {
 public:
  void add(std::string token, std::vector<std::string>& out) override {
    bytes_.add(from_byte_level(token), out.emplace_back());
  }
  void finish(std::vector<std::string>& out) override {
    bytes_.finish(out.emplace_back());
  }

 private:
  LossyUtf8Stream bytes_;
};

class Metaspace : public DecodeStep {
 public:
  explicit Metaspace(const MetaspaceSettings& settings)
      : mark_(settings.replacement),
        drops_first_(settings.scheme != PrependScheme::never) {}

  void add(std::string token, std::vector<std::string>& out) override {
    const bool drops = std::exchange(drops_first_, false);
    out.push_back(replace_all(token, mark_.find(token), drops ? "" : " "));
  }

 private:
  TextPattern mark_;
  bool drops_first_;  // the marks of the first token
};

class Replace : public DecodeStep {
 public:
  Replace(TextPattern pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}

  void add(std::string token, std::vector<std::string>& out) override {
    out.push_back(replace_all(token, pattern_.find(token), content_));
  }

 private:
  TextPattern pattern_;
  std::string content_;
};

// The value of "<0x0A>". Like Rust's from_str_radix, takes a sign before a
// single digit.
std::optional<char> byte_of(std::string_view token) {
  if (token.size() != 6 || !token.starts_with("<0x") || token[5] != '>') {
    return {};
  }
  int value = 0;
  for (const char c : token.substr(token[3] == '+' ? 4 : 3)) {
    if (c == '>') break;
    if (c >= '0' && c <= '9') {
      value = value * 16 + (c - '0');
    } else if ((c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F')) {
      value = value * 16 + ((c & 0xDF) - 'A' + 10);
    } else {
      return {};
    }
  }
  return static_cast<char>(static_cast<unsigned char>(value));
}

// A run of byte tokens is one token when all of it is UTF-8, and else U+FFFD
// for every byte, so none of it is certain before the run ends.
class ByteFallback : public DecodeStep {
 public:
  void add(std::string token, std::vector<std::string>& out) override {
    if (const auto byte = byte_of(token)) {
      run_ += *byte;
      return;
    }
    finish(out);
    out.push_back(std::move(token));
  }

  void finish(std::vector<std::string>& out) override {
    if (run_.empty()) return;
    if (is_valid_utf8(run_)) {
      out.push_back(run_);
    } else {
      out.insert(out.end(), run_.size(), std::string(kReplacementCharacter));
    }
    run_.clear();
  }

 private:
  std::string run_;
};

struct StripSettings {
  std::string content;  // one character
  std::int64_t start;   // how many of it go at the beginning
  std::int64_t stop;    // and at the end
};

class StripTokens : public DecodeStep {
 public:
  explicit StripTokens(StripSettings settings)
      : settings_(std::move(settings)) {}

  void add(std::string token, std::vector<std::string>& out) override {
    std::string_view rest = token;
    const auto& content = settings_.content;
    for (auto i = settings_.start; i > 0 && rest.starts_with(content); --i) {
      rest.remove_prefix(content.size());
    }
    for (auto i = settings_.stop; i > 0 && rest.ends_with(content); --i) {
      rest.remove_suffix(content.size());
    }
    out.emplace_back(rest);
  }

 private:
  StripSettings settings_;
};

// Strips one text that comes in fragments of whole characters.
class StripText : public DecodeStep {
 public:
  explicit StripText(StripSettings settings)
      : settings_(std::move(settings)), leading_(settings_.start) {}

  void add(std::string fragment, std::vector<std::string>& out) override {
    const std::string& content = settings_.content;
    std::string_view rest = fragment;
    while (leading_ > 0 && rest.starts_with(content)) {
      rest.remove_prefix(content.size());
      --leading_;
    }
    if (rest.empty()) return;
    leading_ = 0;
    std::string passed;
    while (!rest.empty()) {
      if (settings_.stop > 0 && rest.starts_with(content)) {
        ++trailing_;
        rest.remove_prefix(content.size());
      } else {
        release(trailing_, passed);
        const std::size_t length = utf8_length(rest[0]);
        passed += rest.substr(0, length);
        rest.remove_prefix(length);
      }
    }
    release(trailing_ - settings_.stop, passed);
    out.push_back(std::move(passed));
  }

 private:
  // Of the characters held back, passes on `count`.
  void release(std::int64_t count, std::string& passed) {
    for (; count > 0; --count, --trailing_) passed += settings_.content;
  }

  StripSettings settings_;
  std::int64_t leading_;       // how many may still go
  std::int64_t trailing_ = 0;  // how many are held back, `stop` at most
};

StripSettings read_strip(const Component& component) {
  StripSettings settings{component.required<std::string>("content"),
                         component.required<std::int64_t>("start"),
                         component.required<std::int64_t>("stop")};
  if (settings.content.empty() ||
      utf8_length(settings.content[0]) != settings.content.size()) {
    component.corrupt("\"content\" should be one character");
  }
  if (settings.start < 0 || settings.stop < 0) {
    component.corrupt("\"start\" and \"stop\" should not be negative");
  }
  return settings;
}

template <typename Step, typename... Settings>
DecodeStepMaker maker(Settings... settings) {
  return [=]() -> std::unique_ptr<DecodeStep> {
    return std::make_unique<Step>(settings...);
  };
}

}  // namespace

TokenDecoder::TokenDecoder() : makers_{maker<JoinBySpaces>()} {}

TokenDecoder::TokenDecoder(const Component& component) { append(component); }

void TokenDecoder::append(const Component& component) {
  const std::string& type = component.type();
  if (type == "Sequence") {
    for (const auto& child : component.children("decoders")) append(child);
  } else if (type == "Fuse") {
    fused_ = true;
  } else if (type == "Strip") {
    const StripSettings settings = read_strip(component);
    makers_.push_back(fused_ ? maker<StripText>(settings)
                             : maker<StripTokens>(settings));
  } else if (fused_) {
    component.unsupported(
        "it comes after Fuse or ByteLevel, so no text could be shown before "
        "the last token");
  } else if (type == "ByteLevel") {
    makers_.push_back(maker<ByteLevel>());
    fused_ = true;
  } else if (type == "Metaspace") {
    makers_.push_back(maker<Metaspace>(read_metaspace(component)));
  } else if (type == "Replace") {
    makers_.push_back(
        maker<Replace>(TextPattern::read(component, "pattern"),
                       component.required<std::string>("content")));
  } else if (type == "ByteFallback") {
    makers_.push_back(maker<ByteFallback>());
  } else {
    component.unsupported_type();
  }
}

std::vector<std::unique_ptr<DecodeStep>> TokenDecoder::start() const {
  std::vector<std::unique_ptr<DecodeStep>> steps;
  for (const DecodeStepMaker& make : makers_) steps.push_back(make());
  return steps;
}

}  // namespace llamlx
