#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

namespace llamlx {

/// A token that is cut out of a text before the rest is encoded.
struct AddedToken {
  std::string content = {};
  std::int32_t id = 0;
  bool single_word = false;  ///< only where no word character adjoins
  bool lstrip = false;       ///< swallows white space before it
  bool rstrip = false;       ///< swallows white space after it
  bool normalized = false;   ///< sought in the normalized text, else in the raw
  bool special = false;      ///< left out of decoded text
};

/// A part of a text: an added token, or what lies between two.
struct TextSegment {
  static constexpr std::int32_t kText = -1;

  std::int32_t id;  ///< kText: text still to be encoded
  std::size_t begin;
  std::size_t end;
};

/// Finds tokens in texts, the leftmost first and the longest among those that
/// begin at one place. Takes O(n * length of the longest token).
///
/// Threads: const members may be called from several threads.
/// Source: the behaviour of Hugging Face's tokenizers 0.23.
class AddedTokenMatcher {
 public:
  /// The longest token there may be, in bytes.
  static constexpr std::size_t kLongestToken = 1024;

  /// Seeks `token` where `written` stands (its content, perhaps normalized).
  /// False when that is empty, too long, or already stands for a token.
  bool add(const AddedToken& token, std::string_view written);

  /// The segments of well-formed `text`, in order.
  std::vector<TextSegment> split(std::string_view text) const;

 private:
  struct Match {
    const AddedToken* token = nullptr;
    std::size_t end = 0;
  };

  Match longest_at(std::string_view text, std::size_t begin) const;

  std::vector<AddedToken> tokens_;
  // A trie over bytes: (node << 8 | byte) leads to a node.
  std::unordered_map<std::uint64_t, std::uint32_t> edges_;
  std::vector<std::int32_t> token_of_node_{-1};  // index in tokens_
  bool first_bytes_[256] = {};
};

}  // namespace llamlx
