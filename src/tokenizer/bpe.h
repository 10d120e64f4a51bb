#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/vocabulary.h"

namespace llamlx {

/// Which two neighbours become one token, and in what order.
///
/// Threads: const members may be called from several threads.
class MergeTable {
 public:
  struct Merge {
    std::int32_t rank;
    std::int32_t id;  ///< of the token that the two become
  };

  explicit MergeTable(std::size_t expected);

  /// A pair named twice keeps the later merge.
  void add(std::int32_t left, std::int32_t right, Merge merge);

  /// The merge of two tokens, or nullptr.
  const Merge* find(std::int32_t left, std::int32_t right) const;

 private:
  struct Slot {
    std::uint64_t pair = kFree;
    Merge merge = {};
  };
  static constexpr std::uint64_t kFree = ~std::uint64_t{0};

  std::size_t slot_of(std::uint64_t pair) const;
  void grow();

  std::vector<Slot> slots_;  // open addressing, a power of two
  std::size_t size_ = 0;
};

/// How a byte-pair encoding treats what its vocabulary lacks.
struct BpeOptions {
  std::optional<std::string> unk_token = {};
  bool fuse_unk = false;       ///< neighbouring unknown characters become one
  bool byte_fallback = false;  ///< unknown characters become "<0x..>" bytes
  bool ignore_merges = false;  ///< a word that is a token stays one
};

/// Byte-pair encoding of words: characters are merged pair by pair, the lowest
/// rank first and the leftmost among equals, until no pair has a merge.
///
/// Costs O(n log n) for a word of n characters; words of everyday length are
/// remembered. Threads: const members may be called from several threads.
/// Source: Sennrich et al. 2016, arXiv:1508.07909; the options are those of
/// Hugging Face's tokenizers.
class Bpe {
 public:
  Bpe(Vocabulary vocabulary, MergeTable merges, BpeOptions options);
  Bpe(Bpe&&) noexcept;
  ~Bpe();

  const Vocabulary& vocabulary() const { return vocabulary_; }

  /// Appends the ids of `word`, well-formed UTF-8. Characters that neither the
  /// vocabulary nor an unknown token stands for are left out. False when a
  /// character needs the unknown token and the vocabulary lacks that.
  bool encode(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  struct Symbol;
  class Cache;

  bool split(std::string_view word, std::vector<Symbol>& symbols) const;
  bool bytes(std::string_view character, std::vector<Symbol>& symbols) const;
  void merge(std::vector<Symbol>& symbols) const;

  Vocabulary vocabulary_;
  MergeTable merges_;
  BpeOptions options_;
  std::optional<std::int32_t> unk_id_;
  std::array<std::optional<std::int32_t>, 256> byte_ids_;
  std::unique_ptr<Cache> cache_;
};

}  // namespace llamlx
