#include "kernels/cuda/cuda_short_weights.h"

#include <algorithm>

#include "base/error.h"
#include "cuda/decode/shorten.h"
#include "cuda/kernel.h"
#include "kernels/cuda/ceil_div.h"

namespace llamlx {
namespace {

constexpr cuda::PackedLayout kBf16{cuda::NumberType::bf16, 0, 0};

std::size_t tiles_of(const CudaMatrix& matrix) {
  return static_cast<std::size_t>(matrix.row_blocks) * matrix.tiles;
}
std::size_t copy_bytes(const CudaMatrix& matrix) {
  return tiles_of(matrix) * cuda::kShortTileBytes;
}
std::size_t plain_bytes(const CudaMatrix& matrix) {
  return static_cast<std::size_t>(matrix.rows) * matrix.cols *
         cuda::number_bytes(matrix.layout.type);
}

/// Counts tiles that could not be shortened in `refused`.
DeviceBuffer shorten(Stream& stream, const CudaMatrix& matrix,
                     unsigned* refused) {
  DeviceBuffer copy(copy_bytes(matrix));
  cuda::ShortenArgs args{};
  args.from = matrix.bytes.as<const unsigned char>();
  args.to = copy.as<unsigned char>();
  args.tiles = static_cast<long long>(tiles_of(matrix));
  args.refused = refused;
  constexpr unsigned kThreads = 256;
  launch(stream, cuda_kernel("decode/shorten", "shorten_bf16"),
         {.grid_x = ceil_div<unsigned>(tiles_of(matrix) * 32, kThreads),
          .block = kThreads},
         args);
  return copy;
}

}  // namespace

std::size_t CudaShortWeights::bytes_of(
    std::span<const CudaMatrix* const> matrices) {
  std::size_t bytes = 0;
  for (const auto* matrix : matrices) {
    if (matrix->layout != kBf16) return 0;
    bytes += copy_bytes(*matrix);
  }
  return bytes;
}

std::unique_ptr<CudaShortWeights> CudaShortWeights::make(
    Stream& stream, std::span<const CudaMatrix* const> matrices) {
  if (bytes_of(matrices) == 0) return nullptr;
  std::unique_ptr<CudaShortWeights> made(new CudaShortWeights);
  std::size_t plain = 0;
  try {
    const DeviceBuffer refused(sizeof(unsigned));
    fill_zero(stream, refused.data(), refused.bytes());
    for (const auto* matrix : matrices) {
      made->copies_.emplace(matrix,
                            shorten(stream, *matrix, refused.as<unsigned>()));
      plain += plain_bytes(*matrix);
      // One by one: nothing is made in vain of a model that cannot be short.
      unsigned count = 0;
      download(stream, &count, refused.data(), sizeof count);
      if (count != 0) return nullptr;
    }
  } catch (const Error& error) {
    // A model is slower without copies, and not worse.
    if (error.code() != ErrorCode::out_of_memory) throw;
    return nullptr;
  }
  const auto read = bytes_of(matrices);
  made->spared_ = plain - std::min(plain, read);
  return made;
}

}  // namespace llamlx
