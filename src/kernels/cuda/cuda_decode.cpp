#include "kernels/cuda/cuda_decode.h"

#include <algorithm>
#include <cmath>

#include "base/concat.h"
#include "cuda/decode/pieces.h"
#include "kernels/cuda/cuda_memory.h"
#include "kernels/cuda/cuda_model.h"
#include "kernels/cuda/cuda_pass.h"

namespace llamlx {
namespace {

using cuda::Product;

/// A layer's products in their order, if each is one matrix: what experts have
/// is not the same in every pass.
std::vector<const CudaMatrix*> products_of(const CudaLayer& layer) {
  if (layer.experts) return {};
  if (layer.qkv.size() != 1 || layer.gate_up.size() != 1) return {};
  return {&layer.qkv.front(), &layer.o_proj, &layer.gate_up.front(),
          &layer.down_proj};
}

bool are_alike(const CudaMatrix& a, const CudaMatrix& b) {
  return a.layout == b.layout && a.rows == b.rows && a.cols == b.cols;
}

bool takes(const CudaModel& model) {
  const auto& head = model.lm_head();
  if (model.device.compute_capability < kDecodeCapability ||
      model.params.heads.head_dim > cuda::kDecodeLargestHead ||
      model.compute == cuda::NumberType::f32 || model.has_rounded_caches() ||
      head.layout.type != model.compute ||
      (model.embed_tokens.layout.has_floats && !head.layout.has_floats)) {
    return false;
  }
  const auto first = products_of(model.layers.front());
  return std::ranges::all_of(
             model.layers,
             [&](const CudaLayer& layer) {
               const auto products = products_of(layer);
               return std::ranges::equal(
                   products, first,
                   [&](const CudaMatrix* a, const CudaMatrix* b) {
                     return are_alike(*a, *b) && a->layout == head.layout;
                   });
             }) &&
         !first.empty();
}

cuda::ProductShape shape_of(const CudaMatrix& matrix) {
  return {matrix.row_blocks, matrix.tiles, matrix.cols, matrix.rows};
}

/// All that the kernel multiplies with.
std::vector<const CudaMatrix*> products_of(const CudaModel& model) {
  std::vector<const CudaMatrix*> result{&model.lm_head()};
  for (const auto& layer : model.layers) {
    const auto products = products_of(layer);
    result.insert(result.end(), products.begin(), products.end());
  }
  return result;
}

/// Shorter copies of all of it, or null.
std::unique_ptr<const CudaShortWeights> shorten(CudaModel& model,
                                                const CudaMemoryPlan& plan) {
  const auto products = products_of(model);
  const auto bytes = CudaShortWeights::bytes_of(products);
  if (bytes == 0 || !has_room_for_copies(bytes, plan)) return nullptr;
  return CudaShortWeights::make(model.stream, products);
}

/// What the kernel reads of a matrix.
const unsigned char* bytes_of(const CudaMatrix& matrix,
                              const CudaShortWeights* shorter) {
  return shorter != nullptr ? shorter->of(matrix)
                            : matrix.bytes.as<const unsigned char>();
}

cuda::DecodeLayer decode_layer(const CudaLayer& layer) {
  cuda::DecodeLayer result{};
  const auto products = products_of(layer);
  for (std::size_t i = 0; i < products.size(); ++i) {
    result.biases[i] = products[i]->bias.data();
  }
  result.norms[0] = layer.input_layernorm.data();
  result.norms[1] = layer.post_attention_layernorm.data();
  result.q_norm = layer.q_norm.data();
  result.k_norm = layer.k_norm.data();
  result.window = layer.window;
  return result;
}

cuda::PieceLists list_pieces(const CudaModel& model,
                             const cuda::DecodeFormat& format,
                             const cuda::DecodeArgs& args, int blocks,
                             const CudaShortWeights* shorter) {
  std::vector<cuda::LayerWeights> weights;
  for (const auto& layer : model.layers) {
    auto& its = weights.emplace_back();
    std::ranges::transform(
        products_of(layer), its.begin(),
        [&](const CudaMatrix* matrix) { return bytes_of(*matrix, shorter); });
  }
  return cuda::list_pieces(format, args, blocks, weights,
                           bytes_of(model.lm_head(), shorter));
}

/// What is the same in every pass, but for memory.
cuda::DecodeArgs lasting_args(const CudaModel& model) {
  const auto& head = model.lm_head();
  const auto& table = model.embed_tokens;
  const auto& heads = model.params.heads;
  cuda::DecodeArgs args{};
  args.num_layers = static_cast<int>(model.layers.size());
  const auto products = products_of(model.layers.front());
  for (std::size_t i = 0; i < products.size(); ++i) {
    args.shapes[i] = shape_of(*products[i]);
  }
  args.shapes[cuda::kLayerProducts] = shape_of(head);
  args.head_bias = head.bias.data();
  args.norm = model.norm.data();
  args.eps = model.params.rms_norm_eps;
  args.table = table.bytes.as<const unsigned char>();
  args.table_layout = table.layout;
  args.table_tiles = table.tiles;
  args.vocab = table.rows;
  args.num_heads = heads.num_attention_heads;
  args.num_kv_heads = heads.num_key_value_heads;
  args.head_dim = heads.head_dim;
  return args;
}

}  // namespace

std::unique_ptr<CudaDecode> CudaDecode::make(CudaModel& model,
                                             const CudaMemoryPlan& plan) {
  if (!takes(model)) return nullptr;
  auto shorter = shorten(model, plan);
  auto args = lasting_args(model);
  const cuda::DecodeFormat format{model.lm_head().layout, shorter != nullptr};
  const int blocks =
      cuda::decode_blocks(args.shapes[static_cast<int>(Product::gate_up)],
                          model.device.multiprocessors);
  if (!cuda::fit_decode_memory(format, args, blocks,
                               model.device.shared_bytes_per_block)) {
    return nullptr;
  }
  const auto& kernel = cuda_kernel(
      "decode/decode", concat(format.is_short ? "decode_short_" : "decode_",
                              model.lm_head().kernel_suffix()));
  std::unique_ptr<CudaDecode> made(
      new CudaDecode(kernel, static_cast<unsigned>(blocks)));
  const auto pieces = list_pieces(model, format, args, blocks, shorter.get());
  made->short_weights_ = std::move(shorter);
  made->pieces_ = copy_to_gpu(model.stream, pieces.pieces);
  args.listed = made->pieces_.as<const cuda::DecodePiece>();
  made->lists_ = copy_to_gpu(model.stream, pieces.lists);
  args.lists = made->lists_.as<const cuda::DecodeList>();
  std::vector<cuda::DecodeLayer> layers;
  std::ranges::transform(model.layers, std::back_inserter(layers),
                         decode_layer);
  made->layers_ = copy_to_gpu(model.stream, layers);
  args.layers = made->layers_.as<const cuda::DecodeLayer>();
  made->args_ = args;
  made->make_exchange(model);
  return made;
}

void CudaDecode::make_exchange(CudaModel& model) {
  const auto& heads = model.params.heads;
  auto& exchange = args_.exchange;
  const std::pair<float**, int> parts[] = {
      {&exchange.residual, model.hidden_size()},
      {&exchange.middle, model.hidden_size()},
      {&exchange.qkv, model.qkv_width()},
      {&exchange.parts, heads.num_attention_heads * args_.attention.splits *
                            cuda::attention_part_floats(heads.head_dim)},
      {&exchange.attended, heads.num_attention_heads * heads.head_dim},
      {&exchange.hidden, model.layers.front().down_proj.cols}};
  const auto aligned = [](int floats) {
    return static_cast<std::size_t>(floats + 31) / 32 * 32;
  };
  std::size_t floats = 4 * std::size_t{blocks_};
  for (const auto& [part, size] : parts) floats += aligned(size);
  exchange_ = DeviceBuffer(floats * sizeof(float));
  fill_zero(model.stream, exchange_.data(), floats * sizeof(float));
  auto* next = exchange_.as<float>();
  for (const auto& [part, size] : parts) {
    *part = next;
    next += aligned(size);
  }
  exchange.likeliest = reinterpret_cast<std::uint32_t*>(next);
}

void CudaDecode::set_turns(const CudaRope& rope, int position) {
  const std::size_t pairs = rope.periods.size();
  for (std::size_t i = 0; i < pairs; ++i) {
    // A float32 angle has few digits left at a late position.
    const double angle = position / double{rope.periods[i]};
    args_.turns[i] = rope.scale * static_cast<float>(std::cos(angle));
    args_.turns[pairs + i] = rope.scale * static_cast<float>(std::sin(angle));
  }
}

void CudaDecode::run(CudaModel& model, const cuda::SegmentView& segment,
                     int position, const CudaRope& rope, const int* id,
                     const cuda::Choice* choice) {
  const auto& space = model.space;
  args_.segment = segment;
  args_.ids = id;
  args_.chooses = choice != nullptr;
  if (choice != nullptr) args_.choice = *choice;
  args_.traditional = rope.traditional;
  set_turns(rope, position);
  args_.tokens = space.tokens.as<int>();
  args_.host_tokens = static_cast<int*>(model.host_tokens.device_data());
  launch(model.stream, kernel_,
         {.grid_x = blocks_,
          .block = cuda::kDecodeThreads,
          .shared_bytes = static_cast<unsigned>(args_.memory.bytes),
          .runs_together = true},
         args_);
  ++args_.passes;
  if (args_.chooses) ++args_.choices;
}

}  // namespace llamlx
