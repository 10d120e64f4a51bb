#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <vector>

#include "formats/npy_header.h"
#include "formats/tensor_file.h"
#include "formats/zip_reader.h"

namespace llamlx {

/// An npz file, mapped: a zip archive whose entries are "<name>.npy", numpy's
/// format for one array. The archive and every array's header are checked when
/// it is opened; the bytes of an array, by their CRC, when it is first read.
///
/// Stored arrays stand on the mapping, as mapped_array() says; deflated ones
/// (numpy.savez_compressed) are inflated. Arrays whose values lie column by
/// column (numpy's "fortran order") are put into rows.
///
/// Checks   as ZipFile and parse_npy_header(); every entry is an array; its
///          header and what type and shape need are all its bytes; dimensions
///          fit an int32 and their product an int64.
/// Errors   Error naming file and entry, as ZipFile's and parse_npy_header()'s.
/// Threads  const members may be called from several threads.
class NpzFile final : public TensorFile {
 public:
  explicit NpzFile(const std::filesystem::path& path);

  const std::filesystem::path& path() const override {
    return zip_.file()->path();
  }
  const std::vector<TensorEntry>& tensors() const override { return tensors_; }
  mx::array read(const TensorEntry& entry) const override;
  std::optional<std::uint32_t> checksum(
      const TensorEntry& entry) const override;

 private:
  struct Located {
    std::size_t entry;  // its number in the archive
    std::uint64_t header_size;
    bool is_fortran;
  };

  mx::array read_stored(const ZipEntry& entry, std::size_t header_size,
                        const mx::Shape& shape, mx::Dtype dtype) const;
  mx::array read_deflated(const ZipEntry& entry, std::size_t header_size,
                          const mx::Shape& shape, mx::Dtype dtype) const;

  ZipFile zip_;
  std::vector<TensorEntry> tensors_;
  std::vector<Located> located_;  // of tensors_
  // Of the archive's entries: whether the CRC has been found right.
  std::unique_ptr<std::atomic<bool>[]> is_checked_;
};

}  // namespace llamlx
