#include "tokenizer/bpe.h"

#include <mutex>
#include <queue>
#include <shared_mutex>
#include <unordered_map>
#include <utility>

#include "base/utf8.h"

namespace llamlx {
namespace {

// The cache is emptied when full: cheaper than an order of use, and as good
// for texts, whose words follow Zipf's law.
constexpr std::size_t kCachedWords = 1 << 14;
constexpr std::size_t kLongestCachedWord = 64;

std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
  return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 |
         static_cast<std::uint32_t>(right);
}

struct StringHash {
  using is_transparent = void;
  std::size_t operator()(std::string_view text) const {
    return std::hash<std::string_view>()(text);
  }
};

// A merge that may be due, unless its neighbours have changed since.
struct Candidate {
  std::int32_t rank;
  std::int32_t id;
  std::size_t at;

  bool operator>(const Candidate& other) const {
    return rank != other.rank ? rank > other.rank : at > other.at;
  }
};
using Queue = std::priority_queue<Candidate, std::vector<Candidate>,
                                  std::greater<Candidate>>;

}  // namespace

MergeTable::MergeTable(std::size_t expected) {
  std::size_t slots = 64;
  while (slots < 2 * expected) slots *= 2;
  slots_.resize(slots);
}

std::size_t MergeTable::slot_of(std::uint64_t pair) const {
  const std::size_t mask = slots_.size() - 1;
  // Fibonacci hashing; the high bits are the mixed ones.
  std::size_t slot = (pair * 0x9E3779B97F4A7C15u >> 32) & mask;
  while (slots_[slot].pair != kFree && slots_[slot].pair != pair) {
    slot = (slot + 1) & mask;
  }
  return slot;
}

void MergeTable::grow() {
  std::vector<Slot> old(2 * slots_.size());
  old.swap(slots_);
  for (const Slot& slot : old) {
    if (slot.pair != kFree) slots_[slot_of(slot.pair)] = slot;
  }
}

void MergeTable::add(std::int32_t left, std::int32_t right, Merge merge) {
  if (2 * (size_ + 1) > slots_.size()) grow();
  Slot& slot = slots_[slot_of(pair_of(left, right))];
  if (slot.pair == kFree) ++size_;
  slot = {pair_of(left, right), merge};
}

const MergeTable::Merge* MergeTable::find(std::int32_t left,
                                          std::int32_t right) const {
  const Slot& slot = slots_[slot_of(pair_of(left, right))];
  return slot.pair == kFree ? nullptr : &slot.merge;
}

// One token of a word, linked to its neighbours; -1 ends the chain.
struct Bpe::Symbol {
  std::int32_t id;
  std::ptrdiff_t previous = -1;
  std::ptrdiff_t next = -1;
  bool merged_away = false;
};

class Bpe::Cache {
 public:
  bool find(std::string_view word, std::vector<std::int32_t>& ids) const {
    const std::shared_lock lock(mutex_);
    const auto found = words_.find(word);
    if (found == words_.end()) return false;
    ids.insert(ids.end(), found->second.begin(), found->second.end());
    return true;
  }

  void add(std::string_view word, std::vector<std::int32_t> ids) {
    const std::unique_lock lock(mutex_);
    if (words_.size() >= kCachedWords) words_.clear();
    words_.emplace(word, std::move(ids));
  }

 private:
  mutable std::shared_mutex mutex_;
  std::unordered_map<std::string, std::vector<std::int32_t>, StringHash,
                     std::equal_to<>>
      words_;
};

Bpe::Bpe(Vocabulary vocabulary, MergeTable merges, BpeOptions options)
    : vocabulary_(std::move(vocabulary)),
      merges_(std::move(merges)),
      options_(std::move(options)),
      cache_(std::make_unique<Cache>()) {
  if (options_.unk_token) unk_id_ = vocabulary_.find(*options_.unk_token);
  constexpr std::string_view kDigits = "0123456789ABCDEF";
  for (std::size_t byte = 0; byte < 256; ++byte) {
    const std::string token{
        '<', '0', 'x', kDigits[byte / 16], kDigits[byte % 16], '>'};
    byte_ids_[byte] = vocabulary_.find(token);
  }
}

Bpe::Bpe(Bpe&&) noexcept = default;
Bpe::~Bpe() = default;

bool Bpe::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  if (word.empty()) return true;
  if (options_.ignore_merges) {
    if (const auto id = vocabulary_.find(word)) {
      ids.push_back(*id);
      return true;
    }
  }
  const bool cached = word.size() <= kLongestCachedWord;
  if (cached && cache_->find(word, ids)) return true;

  std::vector<Symbol> symbols;
  if (!split(word, symbols)) return false;
  merge(symbols);
  std::vector<std::int32_t> encoded;
  for (const Symbol& symbol : symbols) {
    if (!symbol.merged_away) encoded.push_back(symbol.id);
  }
  ids.insert(ids.end(), encoded.begin(), encoded.end());
  if (cached) cache_->add(word, std::move(encoded));
  return true;
}

// The tokens of the single characters.
bool Bpe::split(std::string_view word, std::vector<Symbol>& symbols) const {
  symbols.reserve(word.size());
  // An unknown token waits here, so that the next one can fuse with it. Bytes
  // that come between overtake it: so it is in tokenizers, and in its ids.
  bool unknown = false;
  for (std::size_t i = 0; i < word.size();) {
    const std::string_view character = word.substr(i, utf8_length(word[i]));
    i += character.size();
    if (const auto id = vocabulary_.find(character)) {
      if (std::exchange(unknown, false)) symbols.push_back({*unk_id_});
      symbols.push_back({*id});
      continue;
    }
    if (options_.byte_fallback && bytes(character, symbols)) continue;
    if (!options_.unk_token) continue;
    if (!unk_id_) return false;
    if (unknown && !options_.fuse_unk) symbols.push_back({*unk_id_});
    unknown = true;
  }
  if (unknown) symbols.push_back({*unk_id_});
  return true;
}

bool Bpe::bytes(std::string_view character,
                std::vector<Symbol>& symbols) const {
  for (const char byte : character) {
    if (!byte_ids_[static_cast<unsigned char>(byte)]) return false;
  }
  for (const char byte : character) {
    symbols.push_back({*byte_ids_[static_cast<unsigned char>(byte)]});
  }
  return true;
}

void Bpe::merge(std::vector<Symbol>& symbols) const {
  std::vector<Candidate> first;
  for (std::size_t i = 0; i < symbols.size(); ++i) {
    const auto at = static_cast<std::ptrdiff_t>(i);
    symbols[i].previous = at - 1;
    if (i + 1 == symbols.size()) break;
    symbols[i].next = at + 1;
    if (const auto* merge = merges_.find(symbols[i].id, symbols[i + 1].id)) {
      first.push_back({merge->rank, merge->id, i});
    }
  }
  Queue queue(std::greater<Candidate>(), std::move(first));
  const auto offer = [&](std::ptrdiff_t left, std::ptrdiff_t right) {
    if (left < 0 || right < 0) return;
    const auto at = static_cast<std::size_t>(left);
    const auto* merge = merges_.find(
        symbols[at].id, symbols[static_cast<std::size_t>(right)].id);
    if (merge != nullptr) queue.push({merge->rank, merge->id, at});
  };
  while (!queue.empty()) {
    const Candidate candidate = queue.top();
    queue.pop();
    Symbol& left = symbols[candidate.at];
    if (left.merged_away || left.next < 0) continue;
    Symbol& right = symbols[static_cast<std::size_t>(left.next)];
    const auto* merge = merges_.find(left.id, right.id);
    if (merge == nullptr || merge->id != candidate.id) continue;

    left.id = merge->id;
    left.next = right.next;
    right.merged_away = true;
    const auto at = static_cast<std::ptrdiff_t>(candidate.at);
    if (left.next >= 0) {
      symbols[static_cast<std::size_t>(left.next)].previous = at;
    }
    offer(left.previous, at);
    offer(at, left.next);
  }
}

}  // namespace llamlx
