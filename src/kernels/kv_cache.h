#pragma once

#include <utility>
#include <vector>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// The keys and values of one sequence, for all layers of a model, as a stack
/// keeps them (Stack::make_cache).
///
/// A forward pass appends the same number of rows in every layer, and advance()
/// then makes them part of the past. Heads are held once, never repeated for
/// the queries that share them.
/// Threads: one at a time.
class KVCache {
 public:
  virtual ~KVCache() = default;

  /// Makes the `length` rows that every layer has appended part of the past.
  void advance(int length) { offset_ += length; }

  /// Forgets the rows from `offset` on, so that another text can follow those
  /// before it. Errors: std::invalid_argument unless 0 <= offset <= offset()
  /// and can_rewind().
  void rewind(int offset);

  /// Whether it still has the rows that those from `offset` on look at. One
  /// that drops rows which no window sees goes back by 256 at least.
  virtual bool can_rewind(int /*offset*/) const { return true; }

  /// Says that nobody wants what a pass gives that was begun last and may still
  /// run, nor the rows it appends: rewind() follows. Where passes can end early
  /// (ours on processors) this one does, and is waited for; what it throws is
  /// lost.
  virtual void abandon() {}

  /// Throws what the last pass threw, where the cache was told, as it was
  /// thrown: of what a pass throws MLX hands on the words alone. For who was
  /// thrown something by a pass, or was given nothing.
  virtual void check() const {}

  /// Number of rows of the past: the position of the next token.
  int offset() const { return offset_; }

  /// Says that the sequence will have `length` rows when those now to come are
  /// in, though they come in several forward passes: what depends on the length
  /// of a sequence (dynamic rotary positions) is then the same as in one.
  void expect(int length) { expected_length_ = length; }

  int expected_length() const { return expected_length_; }

  /// The arrays to evaluate when nothing else depends on what was appended.
  virtual std::vector<mx::array> state() const = 0;

 protected:
  /// Drops what was appended after the first `rows` rows, in every layer.
  virtual void drop_after(int rows) = 0;

 private:
  int offset_ = 0;
  int expected_length_ = 0;
};

/// A cache whose rows are arrays, for steps written with MLX's ops.
class ArrayKVCache : public KVCache {
 public:
  /// Adds rows after the `offset()` rows of the past.
  /// Shapes   k, v [1, Hkv, L, Dh], rotated already.
  virtual void append(int layer, const mx::array& k, const mx::array& v) = 0;

  /// The rows of the past and those appended since: two [1, Hkv, S, Dh].
  virtual std::pair<mx::array, mx::array> fetch(int layer) const = 0;
};

/// `cache` as those steps take it. Errors: std::invalid_argument for a cache
/// that another backend made.
ArrayKVCache& array_cache(KVCache& cache);

/// A cache in one buffer a layer, allocated ahead: [1, Hkv, capacity, Dh] for
/// keys and for values. Grows by half, in steps of 256 rows, when more comes.
class ContiguousKVCache final : public ArrayKVCache {
 public:
  /// `capacity` is the number of rows expected; a good guess saves copies.
  ContiguousKVCache(int num_layers, int capacity);

  void append(int layer, const mx::array& k, const mx::array& v) override;
  std::pair<mx::array, mx::array> fetch(int layer) const override;
  std::vector<mx::array> state() const override;

 protected:
  void drop_after(int rows) override;

 private:
  struct Layer {
    std::vector<mx::array> keys_values;  // empty until the first append
    int length = 0;
  };

  int capacity_;
  std::vector<Layer> layers_;
};

}  // namespace llamlx
