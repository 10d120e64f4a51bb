#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

namespace llamlx {

namespace mx = mlx::core;

/// A tensor that is going to be written.
struct PlannedTensor {
  std::string name;
  mx::Dtype dtype;
  mx::Shape shape;

  std::size_t nbytes() const;
};

/// Writes planned tensors one after another, whatever the format.
///
/// All tensors are declared first, when the writer is made; then each is
/// written in that order, whole or, so that it need never be in memory whole,
/// in blocks of rows. The same plan and values give the same bytes.
///
/// Example:
///     writer.append("model.norm.weight", norm);
///     for (const auto& block : blocks) {
///       writer.append_rows("model.embed_tokens.weight", block);
///     }
///     writer.finish();
///
/// Errors   Error (no_space, io_error) naming the file. std::invalid_argument
///          for a plan that names a tensor twice or in other than UTF-8, or has
///          negative dimensions; for a tensor that is not the next in the plan
///          or of another dtype or shape; and for finish() before the last one.
///          After an Error a writer can only be destroyed.
/// Threads  one at a time.
class TensorWriter {
 public:
  TensorWriter() = default;
  TensorWriter(const TensorWriter&) = delete;
  TensorWriter& operator=(const TensorWriter&) = delete;
  virtual ~TensorWriter() = default;

  /// Writes the next tensor. Evaluates `values`.
  virtual void append(std::string_view name, const mx::array& values) = 0;

  /// Writes rows of the next tensor, `name`: a block of any length along its
  /// first axis, the other axes whole. With its last row a tensor is written.
  /// Evaluates `rows`.
  virtual void append_rows(std::string_view name, const mx::array& rows) = 0;

  /// Brings everything to the disk.
  virtual void finish() = 0;
};

/// Throws std::invalid_argument, in the name of `writer`, for a plan that
/// TensorWriter refuses.
void check_plan(std::string_view writer,
                const std::vector<PlannedTensor>& plan);

/// What the writers of one file share: holds what is appended against the plan,
/// and hands the bytes on.
class FileTensorWriter : public TensorWriter {
 public:
  void append(std::string_view name, const mx::array& values) final;
  void append_rows(std::string_view name, const mx::array& rows) final;
  void finish() final;

  /// Every tensor of the plan is written.
  bool is_complete() const { return next_ == plan_.size(); }

 protected:
  /// `writer` is the name errors speak in; a literal.
  FileTensorWriter(std::string_view writer, std::vector<PlannedTensor> plan);

  std::string_view writer() const { return writer_; }
  const std::vector<PlannedTensor>& plan() const { return plan_; }

  /// A tensor begins, gets its bytes in pieces, and ends; after the last one
  /// the file does.
  virtual void begin_tensor(const PlannedTensor&) {}
  virtual void write(std::span<const std::byte> bytes) = 0;
  virtual void end_tensor(const PlannedTensor&) {}
  virtual void finish_file() = 0;

 private:
  const PlannedTensor& next(std::string_view got) const;
  void begin();
  void write_values(const mx::array& values);
  void end();

  std::string_view writer_;
  std::vector<PlannedTensor> plan_;
  std::size_t next_ = 0;
  bool is_begun_ = false;   // the next tensor
  mx::ShapeElem rows_ = 0;  // of the next tensor that are written
};

/// What the writers of a folder share: cuts a plan into shards, one file each,
/// and writes one after another.
///
/// A shard takes the next tensors of the plan for as long as their bytes stay
/// within `max_shard_bytes`; a larger tensor gets a shard of its own. One shard
/// is open at a time. The plan must not be empty.
class ShardedTensorWriter : public TensorWriter {
 public:
  /// The bytes of all tensors, headers not counted.
  std::uint64_t total_size() const { return total_size_; }

  void append(std::string_view name, const mx::array& values) final;
  void append_rows(std::string_view name, const mx::array& rows) final;
  void finish() final;

 protected:
  ShardedTensorWriter(std::string_view writer, std::vector<PlannedTensor> plan,
                      std::uint64_t max_shard_bytes);

  const std::vector<std::vector<PlannedTensor>>& shards() const {
    return shards_;
  }

  /// The writer of shards()[shard].
  virtual std::unique_ptr<FileTensorWriter> open_shard(std::size_t shard) = 0;
  /// All shards are written.
  virtual void finish_folder() {}

 private:
  FileTensorWriter& open_for(std::string_view name);
  void close_if_complete();

  std::string_view writer_;
  std::vector<std::vector<PlannedTensor>> shards_;
  std::uint64_t total_size_ = 0;
  std::size_t shard_ = 0;  // the one being written
  std::unique_ptr<FileTensorWriter> open_;
};

}  // namespace llamlx
