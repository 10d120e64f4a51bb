#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/files.h"
#include "formats/tensor_writer.h"

namespace llamlx {

/// Writes an npz file from front to back, as NpzFile, numpy.load and mx.load
/// read it: stored entries "<name>.npy" in the order of the plan, zip64 from
/// the start, the values of each at a multiple of 64 in the file, so that they
/// can be mapped. The same plan and values give the same bytes.
///
/// Errors   as TensorWriter; std::invalid_argument also for names that a zip
///          archive cannot hold (a zero byte, 65532 bytes or more) and shapes
///          that numpy's header cannot.
/// Source   as read_zip_directory() and parse_npy_header().
class NpzWriter final : public FileTensorWriter {
 public:
  NpzWriter(const std::filesystem::path& path, std::vector<PlannedTensor> plan);

 private:
  struct Written {
    std::string name;  // of the entry
    std::uint64_t begin = 0;
    std::uint64_t size = 0;
    std::uint32_t crc = 0;
  };

  void begin_tensor(const PlannedTensor& tensor) override;
  void write(std::span<const std::byte> bytes) override;
  void end_tensor(const PlannedTensor& tensor) override;
  void finish_file() override;

  void put(std::span<const std::byte> bytes);
  void put_end(std::uint64_t directory);

  OutputFile file_;
  std::uint64_t position_ = 0;
  std::vector<Written> entries_;  // the last one is being written
};

/// The weights of a model folder as the scripts of MLX's first examples read
/// them: weights.npz, or weights.00.npz, weights.01.npz and so on when they are
/// larger than one shard. Errors: as NpzWriter.
class ShardedNpzWriter final : public ShardedTensorWriter {
 public:
  static constexpr std::uint64_t kMaxShardBytes = std::uint64_t{15} << 30;

  ShardedNpzWriter(std::filesystem::path folder,
                   std::vector<PlannedTensor> plan,
                   std::uint64_t max_shard_bytes = kMaxShardBytes);

 private:
  std::unique_ptr<FileTensorWriter> open_shard(std::size_t shard) override;

  std::filesystem::path folder_;
};

}  // namespace llamlx
