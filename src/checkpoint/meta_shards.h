#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "formats/tensor_file.h"

namespace llamlx {

/// The shards of one of Meta's checkpoints (consolidated.00.pth, ...) as one
/// file, with every tensor whole.
///
/// How a tensor was cut follows from its name and shape: attention.wq, wk, wv,
/// feed_forward.w1, w3 and output by rows; attention.wo and feed_forward.w2 by
/// columns; tok_embeddings by columns in Llama 1 and 2, by rows since Llama 3,
/// which is told by the model's width `dim`. Everything else (norms) is in
/// every shard alike, and the last one's counts. Rotary frequencies, which the
/// config tells, are left out.
///
/// Errors: Error: mismatch naming the file and the tensor when a shard lacks
/// it or has it in another type or a shape that does not join; those of the
/// shards themselves. std::invalid_argument without shards.
/// Threads: as TensorFile.
class MetaShards final : public TensorFile {
 public:
  /// `shards` in the order they were cut; `folder` is what path() is.
  MetaShards(std::filesystem::path folder,
             std::vector<std::unique_ptr<TensorFile>> shards, int dim);

  const std::filesystem::path& path() const override { return folder_; }
  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  const std::vector<std::string>& notices() const override { return notices_; }

  /// The shards' own files, in order.
  std::vector<std::filesystem::path> files() const;

  /// A tensor that was not cut is read as from its own file; one that was, is
  /// put together a part at a time.
  mx::array read(const TensorEntry& entry) const override;

 private:
  static constexpr int kWhole = -1;

  /// Where the parts of a tensor are, and the axis they were cut along.
  struct Parts {
    std::vector<const TensorEntry*> parts;  // of shards_, in order
    int axis = kWhole;
  };

  Parts find_parts(const std::string& name) const;
  TensorEntry join(const Parts& parts) const;

  std::filesystem::path folder_;
  std::vector<std::unique_ptr<TensorFile>> shards_;
  int dim_;
  std::vector<TensorEntry> tensors_;
  std::vector<Parts> parts_;  // of tensors_
  std::vector<std::string> notices_;
};

}  // namespace llamlx
