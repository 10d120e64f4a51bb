#include <immintrin.h>

#include "cpu/limits/limit_kernels.h"

namespace llamlx {
namespace {

// Intel SDM vol. 1, "Programming with Intel AMX": palette 1, tiles of 16 rows
// of 64 bytes.
struct alignas(64) TileConfig {
  std::uint8_t palette = 1;
  std::uint8_t start_row = 0;
  std::uint8_t reserved[14] = {};
  std::uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  std::uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

constexpr int kTiles = 4;
constexpr double kOutputs = 16.0 * 16;

void start(const std::uint8_t* zeros) {
  const TileConfig config;
  // gcc 12 takes the first 8 bytes alone for what the next line reads.
  asm volatile("" ::"r"(&config) : "memory");
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_loadd(4, zeros, 64);
  _tile_loadd(5, zeros, 64);
  _tile_loadd(6, zeros, 64);
  _tile_loadd(7, zeros, 64);
}

alignas(64) const std::uint8_t kZeros[1024] = {};

void tiles_int8(std::int64_t rounds) {
  start(kZeros);
  for (std::int64_t round = 0; round < rounds; ++round) {
    _tile_dpbssd(0, 4, 6);
    _tile_dpbssd(1, 4, 7);
    _tile_dpbssd(2, 5, 6);
    _tile_dpbssd(3, 5, 7);
  }
  _tile_release();
}

void tiles_bf16(std::int64_t rounds) {
  start(kZeros);
  for (std::int64_t round = 0; round < rounds; ++round) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
}

}  // namespace

const LimitKernels kLimitsAmx = {
    nullptr,
    {{"bfloat16", kTiles* kOutputs * 32 * 2, tiles_bf16},
     {"int8", kTiles* kOutputs * 64 * 2, tiles_int8}}};

}  // namespace llamlx
