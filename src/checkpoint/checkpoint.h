#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "tensor/weight.h"

namespace llamlx {

/// What a checkpoint says of one parameter before its values are read.
struct WeightInfo {
  /// Hugging Face's, e.g. "model.norm.weight"; that of all experts is mlx_lm's
  /// (checkpoint/expert_stacks.h).
  std::string name;
  mx::Shape shape;  ///< logical: before packing
  mx::Dtype dtype;  ///< as Weight::dtype()
  std::optional<Quantization> quantization = {};

  ValueFormat format() const { return {dtype, quantization}; }
};

/// A file that accompanies the weights (tokenizer.json, ...): either a copy of
/// `source`, or `content`.
struct SideFile {
  std::string name;
  std::filesystem::path source = {};
  std::string content = {};
};

/// Whether `file` is one that a tokenizer is loaded from, by its name.
bool is_tokenizer(const SideFile& file);

/// Whose layout a folder is to be read in, where it could be either's.
enum class FolderLayout { any, meta, hugging_face };

/// A model as it lies on disk, whatever wrote it, told in one vocabulary:
/// Hugging Face's config.json keys, parameter names and file names. Rows are in
/// Hugging Face's order, or in Meta's where the config says rope_traditional.
///
/// Both roads begin here: a model is loaded from a Checkpoint, and converted
/// from one. Opening reads and checks every header; load() reads the values of
/// one parameter, so that memory stays bounded by the caller.
///
/// Errors: Error, naming the file and the tensor.
/// Threads: const members may be called from several threads.
class Checkpoint {
 public:
  virtual ~Checkpoint() = default;

  /// Opens whatever holds a model, told apart by what is there: a folder in
  /// Hugging Face's or MLX's layout (safetensors, pytorch_model.bin, npz;
  /// single or sharded, quantised or not), one of Meta's (consolidated.*.pth
  /// and params.json), or a GGUF file.
  /// With a `layout` only that one is opened. Errors: also not_found for a
  /// folder in another layout.
  static std::unique_ptr<Checkpoint> open(
      const std::filesystem::path& path,
      FolderLayout layout = FolderLayout::any);

  virtual const std::filesystem::path& path() const = 0;

  /// The files the weights are read from, sorted.
  virtual std::vector<std::filesystem::path> weight_files() const = 0;

  /// How the weights are stored: "safetensors", "torch", "npz" or "gguf".
  virtual std::string_view format() const = 0;

  /// The contents of config.json, or its equivalent made from other metadata.
  virtual const Json& config() const = 0;

  /// The config in Meta's words as it is stored (params.json, or config.json
  /// beside npz weights), where that is how the model is told. The rows of
  /// queries and keys may then be in Meta's order: see "rope_traditional".
  virtual const std::optional<OrderedJson>& params() const;

  /// Every parameter, sorted by name. Quantised ones appear once, under their
  /// ".weight" name.
  virtual const std::vector<WeightInfo>& weights() const = 0;

  /// Reads one parameter; `info` is an element of weights(). Evaluated.
  virtual Weight load(const WeightInfo& info) const = 0;

  /// How many pieces along its first axis `info` is stored in: of experts that
  /// are stored one by one each is one.
  virtual int pieces_of(const WeightInfo& /*info*/) const { return 1; }

  /// Reads one of several pieces, so that memory need not hold all of them.
  /// Evaluated.
  virtual Weight load_piece(const WeightInfo& info, int /*piece*/) const {
    return load(info);
  }

  /// Tokenizer, template and generation settings, for an MLX folder.
  virtual std::vector<SideFile> side_files() const = 0;

  /// Oddities that do not stop anything (stray files, ignored tensors).
  virtual const std::vector<std::string>& notices() const = 0;

  /// The element of weights() called `name`, or nullptr.
  const WeightInfo* find(std::string_view name) const;
};

}  // namespace llamlx
