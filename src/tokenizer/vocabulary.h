#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace llamlx {

/// Tokens and their ids, both ways. Ids may leave gaps.
///
/// Threads: const members may be called from several threads.
class Vocabulary {
 public:
  /// No id may reach this: a table of all ids must fit in memory even when a
  /// file names only the highest. The largest vocabularies have 262144.
  static constexpr std::int64_t kIdLimit = 1 << 22;

  enum class Added { yes, token_known, id_taken };

  /// Gives `token` the id `id`, from 0 to kIdLimit - 1.
  Added add(std::string_view token, std::int32_t id);

  std::optional<std::int32_t> find(std::string_view token) const;

  /// The token of `id`, empty for an id that has none. Lives until add().
  std::string_view token(std::int32_t id) const;

  bool contains(std::int32_t id) const {
    return id >= 0 && id < id_end() &&
           spans_[static_cast<std::size_t>(id)].used;
  }

  /// One more than the highest id.
  std::int32_t id_end() const {
    return static_cast<std::int32_t>(spans_.size());
  }

  std::size_t size() const { return size_; }

 private:
  struct Span {
    std::uint32_t begin = 0;
    std::uint32_t length = 0;
    bool used = false;
  };

  std::size_t slot_of(std::string_view token) const;
  void grow();

  std::string text_;                 // all tokens, one after another
  std::vector<Span> spans_;          // by id
  std::vector<std::int32_t> slots_;  // open addressing; -1: free
  std::size_t size_ = 0;
};

}  // namespace llamlx
