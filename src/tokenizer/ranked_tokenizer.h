#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/bpe_json.h"
#include "tokenizer/tokenizer.h"
#include "tokenizer/tokenizer_json_file.h"
#include "tokenizer/vocabulary.h"

namespace llamlx {

/// The tokens of a byte-pair encoding that are told by their bytes and ranks
/// alone, as tiktoken has them: two neighbours merge when their bytes joined
/// are a token, the one of the lowest rank first.
///
/// Errors: every member throws Error (corrupt_file) naming the file and
/// `place`, which says where in it ("line 3").
class RankedTokens {
 public:
  /// The longest token there may be, in bytes. The longest known have 128.
  static constexpr std::size_t kLongestToken = 1024;

  /// Ids are ranks plus `first_id`.
  RankedTokens(std::string file, std::int32_t first_id)
      : file_(std::move(file)), first_id_(first_id) {}

  /// Adds the token that is `base64` in base64. Refuses what is none, ranks
  /// that cannot be one, and both when they are taken.
  void add(std::string_view base64, std::int64_t rank, std::string_view place);

  /// The tokens in the byte-level alphabet, by id. Refuses ranks that leave
  /// gaps, and vocabularies without each of the 256 bytes: some texts could not
  /// be encoded.
  Vocabulary finish() &&;

 private:
  [[noreturn]] void corrupt(std::string_view place,
                            std::string_view cause) const;

  std::string file_;
  std::int32_t first_id_;
  Vocabulary tokens_;
};

/// Every pair of `tokens` that makes another one of them, in the order in which
/// they merge: by the rank of what they make, then of the left.
///
/// Costs the sum of the squares of the lengths. Errors: Error (unsupported)
/// naming `file` when that, or the number of pairs, is beyond any tokenizer.
MergeList list_ranked_merges(const Vocabulary& tokens, const std::string& file);

/// A byte-level BPE as tiktoken's and Mistral's files tell it.
struct RankedTokenizer {
  std::string file;     ///< for messages
  Vocabulary tokens;    ///< in the byte-level alphabet, from first_id on
  std::string pattern;  ///< one match of it is a word; the rest is left out
  bool pattern_is_total = false;    ///< there is no rest, whatever the text
  std::vector<AddedToken> special;  ///< all of them special
  std::string bos;                  ///< may be none of the special tokens
  std::string eos;                  ///< likewise
  std::vector<std::string> stops;   ///< more tokens that end an answer
  bool special_ends_run = false;    ///< as BpeTokenizerParts

  /// The special token called `content`, or nullptr.
  const AddedToken* find(std::string_view content) const;

  /// eos and stops, as far as there are such tokens.
  std::vector<std::int32_t> eos_ids() const;
};

/// What its tokenizer.json would hold, with "vocab" and "merges" null.
/// `add_bos`: BOS stands before every text.
OrderedJson ranked_tokenizer_json(const RankedTokenizer& ranked, bool add_bos);

/// Ids and texts equal those of tiktoken, and of mistral-common; beyond these,
/// special tokens are always recognised in a text. A tokenizer_config.json (or
/// special_tokens_map.json) in `files` may name other BOS and EOS tokens, and
/// say "add_bos_token": false.
/// Errors: those of list_ranked_merges and read_tokenizer_config.
std::unique_ptr<Tokenizer> make_ranked_tokenizer(RankedTokenizer ranked,
                                                 const TokenizerFiles& files);

}  // namespace llamlx
