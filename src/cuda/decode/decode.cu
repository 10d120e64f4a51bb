#include "cuda/decode/attention.h"
#include "cuda/decode/decode.h"
#include "cuda/decode/product.h"
#include "cuda/decode/short_tile.h"
#include "cuda/matmul/float_tile.h"
#include "cuda/matmul/read_packed.h"
#include "cuda/token/largest_value.h"

namespace llamlx::cuda {
namespace {

// Earlier GPUs have no copies that a barrier waits for.
#if !defined(__CUDA_ARCH__) || __CUDA_ARCH__ >= 900

/// Asks for the layers' table to where it is read without waiting, by all
/// threads.
__device__ void ask_layers(const DecodeArgs& args) {
  const auto* from = reinterpret_cast<const Words4*>(args.layers);
  auto* to = reinterpret_cast<Words4*>(shared_memory() + args.memory.layers);
  static_assert(sizeof(DecodeLayer) % sizeof(Words4) == 0);
  const int words =
      args.num_layers * static_cast<int>(sizeof(DecodeLayer) / sizeof(Words4));
  for (int i = static_cast<int>(threadIdx.x); i < words; i += kDecodeThreads) {
    copy_async(to + i, from + i);
  }
}

/// One block's part of a token.
template <typename Tile>
class Decoder {
 public:
  __device__ explicit Decoder(const DecodeArgs& args)
      : args_(args),
        to_(args.exchange),
        layers_(reinterpret_cast<const DecodeLayer*>(shared_memory() +
                                                     args.memory.layers)),
        products_(args),
        attention_(args) {}

  /// By the threads that compute.
  __device__ void run() {
    begin();
    run_products();
    if (args_.chooses && blockIdx.x == 0) choose();
  }

 private:
  const DecodeArgs& args_;
  const DecodeExchange& to_;
  const DecodeLayer* layers_;
  Products<Tile> products_;
  DecodeAttention<typename Tile::Scales> attention_;

  /// Of what a layer writes; and of the residual stream before it, which is
  /// written once more than there are layers.
  __device__ Mark mark(int layer) const {
    return mark_of(args_.passes * static_cast<unsigned>(args_.num_layers) +
                   static_cast<unsigned>(layer));
  }
  __device__ Mark residual_mark(int layer) const {
    return mark_of(args_.passes * static_cast<unsigned>(args_.num_layers + 1) +
                   static_cast<unsigned>(layer));
  }

  /// Its embedding, and what blocks look up: all before weights, behind which
  /// it would come.
  __device__ void begin() {
    const int given = load_fresh(args_.ids);
    ask_layers(args_);
    products_.prepare();
    publish_embedding(given < 0 ? args_.vocab - 1 : given);
    // Waits for all copies that were asked for, too.
    products_.begin();
    attention_.keep_turns();
    __syncthreads();
    attention_.keep_spans(layers_);
    __syncthreads();
  }
  /// A number of a token's embedding.
  __device__ float embedding(int id, int i) const {
    const auto* table = args_.table;
    const int tiles = args_.table_tiles;
    if constexpr (Tile::layout().has_floats) {
      return read_packed(table, args_.table_layout, tiles, id, i);
    } else {
      return read_plain(table, args_.table_layout, tiles, id, i);
    }
  }
  __device__ void publish_embedding(int id) const {
    const int hidden = args_.shapes[0].cols;
    for (int i = static_cast<int>(blockIdx.x) * kDecodeThreads + thread_now();
         i < hidden; i += static_cast<int>(gridDim.x) * kDecodeThreads) {
      publish(to_.residual + i, embedding(id, i), residual_mark(0));
    }
  }

  struct Step {
    ProductInput input;
    ProductTarget target;
  };
  __device__ Step step_of(Product product, int index) const {
    const auto& layer = layers_[index];
    const auto before = residual_mark(index);
    const auto now = mark(index);
    const auto* bias = layer.biases[static_cast<int>(product)];
    switch (product) {
      case Product::qkv:
        return {{to_.residual, before, layer.norms[0]},
                {SumsUse::add, to_.qkv, now, bias, nullptr, 0}};
      case Product::o:
        return {{to_.attended, now, nullptr},
                {SumsUse::add, to_.middle, now, bias, to_.residual, before}};
      case Product::gate_up:
        return {{to_.middle, now, layer.norms[1]},
                {SumsUse::gate, to_.hidden, now, bias, nullptr, 0}};
      default:
        return {{to_.hidden, now, nullptr},
                {SumsUse::add, to_.residual, residual_mark(index + 1), bias,
                 to_.middle, now}};
    }
  }
  __device__ Step last_step() const {
    return {{to_.residual, residual_mark(args_.num_layers), args_.norm},
            {SumsUse::choose, nullptr, 0, args_.head_bias, nullptr, 0}};
  }

  /// One after another by the same code, which stays near so.
  __device__ void run_products() {
    const int count = kLayerProducts * args_.num_layers;
    if (warp_now() == 0) attention_.bring_cache_near(0);
#pragma unroll 1
    for (int i = 0; i < count + (args_.chooses ? 1 : 0); ++i) {
      const bool is_last = i == count;
      const int layer = i / kLayerProducts;
      const int kind = is_last ? kLayerProducts : i % kLayerProducts;
      const auto product = static_cast<Product>(kind);
      const auto step = is_last ? last_step() : step_of(product, layer);
      products_.run(product, step.input, step.target, [&] {
        // While the gates are waited for.
        if (product == Product::down && layer + 1 < args_.num_layers &&
            warp_now() == 0) {
          attention_.bring_cache_near(layer + 1);
        }
      });
      if (product != Product::qkv) continue;
      attention_.run(layers_[layer], layer, mark(layer));
    }
  }

  /// Among what all blocks have published, as one of them.
  __device__ void choose() const {
    auto mine = no_value();
    for (int i = thread_now(); i < static_cast<int>(gridDim.x);
         i += kDecodeThreads) {
      mine = larger(mine,
                    await_value(to_.likeliest + 4 * i, mark_of(args_.choices)));
    }
    __syncthreads();
    mine = largest_of_block(mine, shared_memory() + DecodeMemory::kLikeliest,
                            kDecodeThreads);
    if (threadIdx.x != 0) return;
    args_.tokens[0] = mine.index;
    args_.host_tokens[args_.choice.slot * kTokenSlotRows] = mine.index;
  }
};

template <typename Tile>
__device__ void decode(const DecodeArgs& args) {
  Decoder<Tile>(args).run();
}

#else
template <typename Tile>
__device__ void decode(const DecodeArgs&) {}
#endif

}  // namespace

LLAMLX_KERNEL(decode_f16, DecodeArgs, kDecodeThreads, 1) {
  decode<DenseTile<F16>>(args);
}
LLAMLX_KERNEL(decode_bf16, DecodeArgs, kDecodeThreads, 1) {
  decode<DenseTile<Bf16>>(args);
}
LLAMLX_KERNEL(decode_short_bf16, DecodeArgs, kDecodeThreads, 1) {
  decode<ShortBf16Tile>(args);
}
LLAMLX_KERNEL(decode_nvfp4, DecodeArgs, kDecodeThreads, 1) {
  decode<FloatTile<4, 16>>(args);
}
LLAMLX_KERNEL(decode_mxfp8, DecodeArgs, kDecodeThreads, 1) {
  decode<FloatTile<8, 32>>(args);
}

#define LLAMLX_DECODE(bits, group, type, Type)                       \
  LLAMLX_KERNEL(decode_affine##bits##_g##group##_##type, DecodeArgs, \
                kDecodeThreads, 1) {                                 \
    decode<AffineTile<bits, group, Type>>(args);                     \
  }
#define LLAMLX_DECODE_BITS(bits)      \
  LLAMLX_DECODE(bits, 32, f16, F16)   \
  LLAMLX_DECODE(bits, 32, bf16, Bf16) \
  LLAMLX_DECODE(bits, 64, f16, F16)   \
  LLAMLX_DECODE(bits, 64, bf16, Bf16)

LLAMLX_DECODE_BITS(2)
LLAMLX_DECODE_BITS(3)
LLAMLX_DECODE_BITS(4)
LLAMLX_DECODE_BITS(5)
LLAMLX_DECODE_BITS(6)
LLAMLX_DECODE_BITS(8)

}  // namespace llamlx::cuda
