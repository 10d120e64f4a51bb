#include "kernels/cuda/cuda_matrix.h"

#include <algorithm>
#include <cmath>
#include <stdexcept>

#include <mlx/ops.h>
#include <mlx/transforms.h>

#include "base/concat.h"
#include "cuda/kernel.h"
#include "cuda/matmul/pack.h"
#include "kernels/cuda/ceil_div.h"

namespace llamlx {
namespace {

cuda::NumberType number_type(mx::Dtype dtype) {
  switch (dtype.val()) {
    case mx::Dtype::Val::float32:
      return cuda::NumberType::f32;
    case mx::Dtype::Val::float16:
      return cuda::NumberType::f16;
    case mx::Dtype::Val::bfloat16:
      return cuda::NumberType::bf16;
    default:
      throw std::invalid_argument(
          concat("kernels do not read values of type ", to_string(dtype)));
  }
}

cuda::PackedLayout layout_of(const Weight& weight) {
  const auto type = number_type(weight.dtype());
  if (!weight.quantization) return {type, 0, 0};
  const auto& q = *weight.quantization;
  return {type, q.bits, std::min(q.group_size, cuda::kTileCols),
          !q.is_affine()};
}

/// A weight's arrays on the GPU while it is packed.
struct PlainBuffers {
  DeviceBuffer data, scales, biases;

  PlainBuffers(Stream& stream, const Weight& weight)
      : data(copy(stream, weight.data)) {
    if (weight.scales) scales = copy(stream, *weight.scales);
    if (weight.biases) biases = copy(stream, *weight.biases);
  }

  static DeviceBuffer copy(Stream& stream, const mx::array& values) {
    const auto plain = row_by_row(values);
    DeviceBuffer buffer(plain.nbytes());
    upload(stream, buffer.data(), plain.data<void>(), plain.nbytes());
    return buffer;
  }
};

/// Blocks of 16 rows that so many rows take, of two weights if they take turns
/// of 8.
int row_blocks_of(int rows, Packing packing) {
  return packing == Packing::interleaved ? ceil_div<int>(rows / 2, 8)
                                         : ceil_div<int>(rows, cuda::kTileRows);
}

CudaMatrix pack(Stream& stream, std::span<const Linear* const> layers,
                Packing packing, int experts = 1) {
  const auto& first = layers.front()->weight;
  CudaMatrix m;
  m.layout = layout_of(first);
  m.cols = first.shape().at(1);
  m.tiles = ceil_div<int>(m.cols, cuda::kTileCols);
  cuda::PackArgs args{};
  std::vector<PlainBuffers> plain;
  for (const auto* layer : layers) {
    const auto& buffers = plain.emplace_back(stream, layer->weight);
    const int rows = layer->weight.shape().at(0) / experts;
    args.sources[args.num_sources++] = {buffers.data.data(),
                                        buffers.scales.data(),
                                        buffers.biases.data(), rows};
    m.rows += rows;
  }
  m.row_blocks = row_blocks_of(m.rows, packing);
  m.bytes = DeviceBuffer(static_cast<std::size_t>(experts) * m.expert_bytes());
  fill_zero(stream, m.bytes.data(), m.bytes.bytes());
  args.experts = experts;
  args.interleaved = packing == Packing::interleaved ? 1 : 0;
  args.cols = m.cols;
  args.group = first.quantization ? first.quantization->group_size : 0;
  args.layout = m.layout;
  args.row_blocks = m.row_blocks;
  args.tiles = m.tiles;
  args.out = m.bytes.as<unsigned char>();
  constexpr unsigned kThreads = 256;
  const auto threads = m.bytes.bytes() / cuda::tile_bytes(m.layout) * 32;
  launch(stream, cuda_kernel("matmul/pack", "pack_weight"),
         {.grid_x = ceil_div<unsigned>(threads, kThreads), .block = kThreads},
         args);
  stream.synchronize();  // before the plain ones are freed
  return m;
}

/// The biases of layers side by side, or of two in turns of 8; zeros where a
/// layer has none; nothing if none has.
CudaVector pack_biases(Stream& stream, std::span<const Linear* const> layers,
                       Packing packing) {
  const bool has_any = std::ranges::any_of(
      layers, [](const auto* layer) { return layer->bias.has_value(); });
  if (!has_any) return {};
  std::vector<std::vector<float>> each;
  for (const auto* layer : layers) {
    const auto rows = static_cast<std::size_t>(layer->weight.shape().at(0));
    auto& numbers = each.emplace_back(rows, 0.0F);
    if (!layer->bias) continue;
    const auto values = row_by_row(mx::astype(*layer->bias, mx::float32));
    std::copy_n(values.data<float>(), rows, numbers.begin());
  }
  std::vector<float> all;
  if (packing == Packing::interleaved) {
    for (std::size_t i = 0; i < each[0].size(); i += 8) {
      for (const auto& one : each) {
        for (std::size_t j = i; j < i + 8; ++j) {
          all.push_back(j < one.size() ? one[j] : 0);
        }
      }
    }
  } else {
    for (const auto& one : each) all.insert(all.end(), one.begin(), one.end());
  }
  return {copy_to_gpu(stream, all), 1};
}

}  // namespace

CudaVector upload_vector(Stream& stream, const mx::array& values) {
  const auto numbers = row_by_row(mx::astype(values, mx::float32));
  const auto* first = numbers.data<float>();
  CudaVector result{DeviceBuffer(numbers.nbytes()), 0};
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    result.largest = std::max(result.largest, std::abs(first[i]));
  }
  upload(stream, result.numbers.data(), first, numbers.nbytes());
  return result;
}

const char* type_name(cuda::NumberType type) {
  static constexpr const char* kNames[] = {"f32", "f16", "bf16", "q8"};
  return kNames[static_cast<int>(type)];
}

std::string CudaMatrix::kernel_suffix() const {
  const auto* type = type_name(layout.type);
  if (layout.bits == 0) return type;
  if (layout.has_floats) return layout.bits == 4 ? "nvfp4" : "mxfp8";
  return concat("affine", layout.bits, "_g", layout.group, "_", type);
}

bool are_packed_together(std::span<const Linear* const> layers) {
  const auto& first = layers.front()->weight;
  return std::ranges::all_of(layers, [&](const Linear* layer) {
    return layer->weight.dtype() == first.dtype() &&
           layer->weight.quantization == first.quantization;
  });
}

std::vector<CudaMatrix> pack_linears(Stream& stream,
                                     std::span<const Linear* const> layers,
                                     Packing packing, int experts) {
  std::vector<CudaMatrix> result;
  if (are_packed_together(layers)) {
    result.push_back(pack(stream, layers, packing, experts));
    result.back().bias = pack_biases(stream, layers, packing);
    return result;
  }
  for (const auto* layer : layers) {
    const std::span<const Linear* const> one(&layer, 1);
    result.push_back(pack(stream, one, Packing::side_by_side, experts));
    result.back().bias = pack_biases(stream, one, Packing::side_by_side);
  }
  return result;
}

CudaMatrix pack_weight(Stream& stream, const Weight& weight) {
  const Linear layer{weight};
  const Linear* const layers[] = {&layer};
  return pack(stream, layers, Packing::side_by_side);
}

std::size_t packed_bytes(std::span<const Linear* const> layers, Packing packing,
                         int experts) {
  if (!are_packed_together(layers)) {
    std::size_t bytes = 0;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      bytes +=
          packed_bytes(layers.subspan(i, 1), Packing::side_by_side, experts);
    }
    return bytes;
  }
  int rows = 0;
  for (const auto* layer : layers) {
    rows += layer->weight.shape().at(0) / experts;
  }
  const auto& weight = layers.front()->weight;
  return static_cast<std::size_t>(experts) * row_blocks_of(rows, packing) *
         ceil_div<int>(weight.shape().at(1), cuda::kTileCols) *
         cuda::tile_bytes(layout_of(weight));
}

std::size_t packed_bytes(const Weight& weight) {
  const Linear layer{weight};
  const Linear* const layers[] = {&layer};
  return packed_bytes(layers, Packing::side_by_side);
}

}  // namespace llamlx
