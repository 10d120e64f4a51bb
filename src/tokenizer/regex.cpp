#include "tokenizer/regex.h"

#define PCRE2_CODE_UNIT_WIDTH 8
#include <chrono>
#include <cstdint>
#include <new>

#include <pcre2.h>

#include "base/concat.h"
#include "base/utf8.h"
#include "tokenizer/oniguruma_pattern.h"

namespace llamlx {
namespace {

using Clock = std::chrono::steady_clock;

constexpr std::size_t kLongestPattern = 1 << 16;

// Steps that one place of a text may take: a run of n spaces honestly takes n
// to back out of, and some patterns back out of a run a few times.
constexpr std::uint32_t kStepsPerPlace = 200'000;
constexpr std::uint32_t kStepsPerByte = 8;

// Places tried before the clock is looked at again, and what the clock allows:
// honest patterns take some 50 ns a byte.
constexpr std::size_t kWindow = 256;
constexpr int kCallsBetweenLooks = 16;
constexpr std::chrono::nanoseconds kTime = std::chrono::seconds(5);
constexpr std::chrono::nanoseconds kTimePerByte{2000};

struct Deleter {
  void operator()(pcre2_code* code) const { pcre2_code_free(code); }
  void operator()(pcre2_compile_context* context) const {
    pcre2_compile_context_free(context);
  }
  void operator()(pcre2_match_context* context) const {
    pcre2_match_context_free(context);
  }
  void operator()(pcre2_match_data* data) const { pcre2_match_data_free(data); }
};
template <typename T>
using Owned = std::unique_ptr<T, Deleter>;

template <typename T>
Owned<T> owned(T* pointer) {
  if (pointer == nullptr) throw std::bad_alloc();
  return Owned<T>(pointer);
}

PCRE2_SPTR units(std::string_view text) {
  return reinterpret_cast<PCRE2_SPTR>(text.data());
}

std::string message_of(int error) {
  PCRE2_UCHAR text[256];
  if (pcre2_get_error_message(error, text, sizeof text) < 0) return "error";
  return reinterpret_cast<const char*>(text);
}

// One search through one text, from match to match.
class Search {
 public:
  Search(const pcre2_code* code, std::string_view text)
      : code_(code),
        text_(text),
        data_(owned(pcre2_match_data_create(1, nullptr))),
        context_(owned(pcre2_match_context_create(nullptr))),
        deadline_(Clock::now() + kTime +
                  kTimePerByte * static_cast<std::int64_t>(text.size())) {
    const std::size_t steps = kStepsPerPlace + kStepsPerByte * text.size();
    pcre2_set_match_limit(
        context_.get(),
        static_cast<std::uint32_t>(std::min<std::size_t>(steps, UINT32_MAX)));
  }

  // The first match that begins at `from` or later.
  bool next(std::size_t from, TextRange& match) {
    // PCRE2 counts steps anew at every place, so the places are counted here.
    for (std::size_t window = from; window <= text_.size();) {
      const std::size_t last = std::min(window + kWindow, text_.size());
      pcre2_set_offset_limit(context_.get(), last);
      look_at_clock();
      const int found = try_match(window);
      if (found >= 0) {
        const PCRE2_SIZE* offsets = pcre2_get_ovector_pointer(data_.get());
        match = {offsets[0], offsets[1]};
        return true;
      }
      if (found != PCRE2_ERROR_NOMATCH) {
        throw PatternError(concat("gave up on a text: ", message_of(found)));
      }
      window = last + 1;
      while (window < text_.size() && is_continuation(text_[window])) ++window;
    }
    return false;
  }

 private:
  static bool is_continuation(char c) {
    return (static_cast<unsigned char>(c) & 0xC0) == 0x80;
  }

  int try_match(std::size_t from) {
    const int found = match(from, PCRE2_NO_UTF_CHECK);
    // The machine code's stack is small; the interpreter keeps its own on the
    // heap.
    if (found != PCRE2_ERROR_JIT_STACKLIMIT) return found;
    return match(from, PCRE2_NO_UTF_CHECK | PCRE2_NO_JIT);
  }

  int match(std::size_t from, std::uint32_t options) {
    return pcre2_match(code_, units(text_), text_.size(), from, options,
                       data_.get(), context_.get());
  }

  void look_at_clock() {
    if (++calls_ % kCallsBetweenLooks == 0 && Clock::now() > deadline_) {
      throw PatternError("takes too long on a text");
    }
  }

  const pcre2_code* code_;
  std::string_view text_;
  Owned<pcre2_match_data> data_;
  Owned<pcre2_match_context> context_;
  Clock::time_point deadline_;
  int calls_ = 0;
};

}  // namespace

Regex::Regex(std::string_view pattern) {
  if (pattern.size() > kLongestPattern) throw PatternError("is too long");
  const std::string translated = oniguruma_to_pcre2(pattern);
  const auto context = owned(pcre2_compile_context_create(nullptr));
  pcre2_set_newline(context.get(), PCRE2_NEWLINE_LF);
  const std::uint32_t options = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE |
                                PCRE2_USE_OFFSET_LIMIT |
                                PCRE2_NEVER_BACKSLASH_C;
  int error = 0;
  PCRE2_SIZE offset = 0;
  pcre2_code* code = pcre2_compile(units(translated), translated.size(),
                                   options, &error, &offset, context.get());
  if (code == nullptr) throw PatternError(message_of(error));
  code_ = std::shared_ptr<void>(
      code, [](void* p) { pcre2_code_free(static_cast<pcre2_code*>(p)); });
  // Where memory cannot be made executable, PCRE2 interprets.
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);
}

std::vector<TextRange> Regex::find_all(std::string_view text) const {
  std::vector<TextRange> matches;
  Search search(static_cast<const pcre2_code*>(code_.get()), text);
  TextRange match{};
  for (std::size_t from = 0; from <= text.size() && search.next(from, match);) {
    const bool repeated = match.begin == match.end && !matches.empty() &&
                          matches.back().end == match.end;
    if (repeated) {
      from = match.end < text.size() ? match.end + utf8_length(text[match.end])
                                     : text.size() + 1;
    } else {
      matches.push_back(match);
      from = match.end;
    }
  }
  return matches;
}

}  // namespace llamlx
