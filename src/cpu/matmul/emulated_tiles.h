#pragma once

// The tile unit of AMX (amx_tiles.h) in plain C++, so that the loops around it
// are tested on machines without one. Only tests include this.

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cpu/matmul/matmul.h"

namespace llamlx {

/// The kernels of AMX, with this for a tile unit.
extern const MatmulKernel qmm_amx_emulated;
extern const MatmulKernel qmm_f16_amx_emulated;

namespace {

struct Tiles {
  static void configure() { std::memset(tiles(), 0xff, sizeof(Tile) * 8); }
  static void release() { std::memset(tiles(), 0xff, sizeof(Tile) * 8); }

  template <int tile>
  static void zero() {
    std::memset(tiles()[tile], 0, sizeof(Tile));
  }

  template <int tile>
  static void load(const float* from, std::ptrdiff_t stride) {
    for (int i = 0; i < 16; ++i) {
      std::memcpy(tiles()[tile][i], from + i * stride, 64);
    }
  }

  template <int tile>
  static void store(float* to, std::ptrdiff_t stride) {
    for (int i = 0; i < 16; ++i) {
      std::memcpy(to + i * stride, tiles()[tile][i], 64);
    }
  }

  template <int sums, int x, int w>
  static void multiply_add() {
    for (int i = 0; i < 16; ++i) {
      for (int k = 0; k < 16; ++k) {
        for (int n = 0; n < 16; ++n) {
          const std::uint32_t a = tiles()[x][i][k];
          const std::uint32_t b = tiles()[w][k][n];
          float sum = value_of(tiles()[sums][i][n]);
          sum += value_of(a << 16) * value_of(b << 16);
          sum += value_of(a & 0xffff0000) * value_of(b & 0xffff0000);
          std::memcpy(&tiles()[sums][i][n], &sum, 4);
        }
      }
    }
  }

 private:
  using Tile = std::uint32_t[16][16];

  static Tile* tiles() {
    static thread_local Tile memory[8];
    return memory;
  }
  static float value_of(std::uint32_t bits) {
    float value;
    std::memcpy(&value, &bits, 4);
    return value;
  }
};

}  // namespace
}  // namespace llamlx
