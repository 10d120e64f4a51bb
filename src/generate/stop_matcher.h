#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// Finds the end of a text that comes in pieces: the first place where a stop
/// string is complete.
///
/// Of several stop strings that end at one place the longest counts; the text
/// before it is handed out, nothing of it and nothing after it. However the
/// text is cut into pieces, what is handed out is the same. What could still
/// become a stop string is held back: the longest end of the text that one of
/// them begins with. Stop strings are whole UTF-8, so no character is cut.
/// Costs O(1) a byte and stop string.
///
/// Example:
///     StopMatcher stop({"[END]"});
///     stop.add("so [E");    // "so "
///     stop.add("N] [END");  // "[EN] "
///     stop.add("], and");   // "", and stopped() is true
class StopMatcher {
 public:
  /// Errors: std::invalid_argument for stop strings that are empty or not
  /// UTF-8.
  explicit StopMatcher(const std::vector<std::string>& stop);

  /// The text that has become certain with `piece`; "" once stopped.
  std::string add(std::string_view piece);

  /// What was held back, since nothing follows.
  std::string finish();

  bool stopped() const { return !found_.empty(); }

  /// The stop string that was found; "" before.
  const std::string& found() const { return found_; }

 private:
  /// A stop string, and how much of it the text ends with.
  struct Word {
    explicit Word(const std::string& text);
    /// Moves on by one byte; true when the text ends with the whole word.
    bool add(char byte);

    std::string text;
    // borders[n]: the longest proper beginning of text[0, n) that also ends it.
    std::vector<std::size_t> borders;
    std::size_t matched = 0;
  };

  /// Moves all words on; the longest that is complete, or "".
  std::string_view complete_with(char byte);

  std::vector<Word> words_;
  std::string held_;
  std::string found_;
};

}  // namespace llamlx
