#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include <mlx/array.h>

#include "base/files.h"

namespace llamlx {

namespace mx = mlx::core;

/// A tensor that is going to be written.
struct PlannedTensor {
  std::string name;
  mx::Dtype dtype;
  mx::Shape shape;

  std::size_t nbytes() const;
};

/// Writes a safetensors file from front to back, holding one tensor at a time.
///
/// All tensors are declared first, for the header; then each is appended in the
/// declared order, which is also the order of the data. The same plan and
/// values give the same bytes: the header is sorted by name, says {"format":
/// "mlx"}, and is padded with spaces so that the data begins at a multiple
/// of 8.
///
/// Example:
///     SafetensorsWriter writer("model.safetensors",
///                              {{"model.norm.weight", mx::bfloat16, {576}}});
///     writer.append("model.norm.weight", norm);
///     writer.finish();
///
/// Errors   Error (no_space, io_error) naming the file. std::invalid_argument
///          for a plan that names a tensor twice, that no reader would take
///          (a name that is not UTF-8, a header beyond 100 MB) or that MLX
///          cannot have (float64, negative dimensions); for a tensor that is
///          not the next in the plan or of another dtype or shape; and for
///          finish() before the last one.
/// Source   As SafetensorsFile.
class SafetensorsWriter {
 public:
  SafetensorsWriter(const std::filesystem::path& path,
                    std::vector<PlannedTensor> plan);

  /// Writes the next tensor. Evaluates `values`.
  void append(std::string_view name, const mx::array& values);

  /// Brings the whole file to the disk.
  void finish();

 private:
  std::vector<PlannedTensor> plan_;
  std::size_t next_ = 0;
  OutputFile file_;
};

}  // namespace llamlx
