#include "cuda/emulator/emulator.h"

#include <algorithm>
#include <array>
#include <csetjmp>
#include <exception>
#include <map>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include <ucontext.h>

namespace llamlx::cuda {
namespace emulator {

Index3 thread_index, block_index, block_dim, grid_dim;

namespace {

constexpr std::size_t kStackBytes = std::size_t{128} << 10;
constexpr unsigned kWarp = 32;

struct EmulatedKernel {
  std::size_t args_bytes;
  void (*run)(const void* args);
};

std::map<std::string_view, EmulatedKernel>& kernels() {
  static std::map<std::string_view, EmulatedKernel> all;
  return all;
}

const EmulatedKernel& find_kernel(std::string_view name) {
  const auto found = kernels().find(name);
  if (found != kernels().end()) return found->second;
  throw std::invalid_argument(std::string(name) + ": there is no such kernel");
}

/// Where threads wait for each other: those of a block, or of a warp.
struct Meeting {
  unsigned alive = 0;
  unsigned arrived = 0;
  unsigned generation = 0;

  void leave() {
    --alive;
    open_if_all_are_here();
  }
  void open_if_all_are_here() {
    if (alive == 0 || arrived < alive) return;
    arrived = 0;
    ++generation;
  }
};

struct Fiber {
  ucontext_t beginning{};
  jmp_buf place{};
  std::unique_ptr<unsigned char[]> stack{new unsigned char[kStackBytes]};
  bool has_begun = false;
  bool has_ended = false;
  bool is_looking = false;  // again and again, for what another block writes
  const Meeting* waits_at = nullptr;
  unsigned waits_in = 0;  // the meeting's generation

  bool can_go_on() const {
    return !has_ended &&
           (waits_at == nullptr || waits_at->generation != waits_in);
  }
};

/// One block while it runs.
struct Block {
  const std::function<void()>* kernel = nullptr;
  Index3 index{};
  std::vector<Fiber*> fibers;
  std::vector<unsigned char> shared;
  Meeting all;
  std::vector<Meeting> warps;
  std::array<Meeting, 16> groups;                     // by number
  std::vector<std::vector<unsigned char>> exchanged;  // of each warp
  jmp_buf scheduler{};
  std::exception_ptr error;

  Fiber& current() { return *fibers[thread_index.x]; }
};

Block* running = nullptr;

// swapcontext would call the system each time, for the mask of signals.
void yield() {
  if (_setjmp(running->current().place) == 0) {
    _longjmp(running->scheduler, 1);
  }
}

void meet(Meeting& meeting) {
  auto& fiber = running->current();
  fiber.waits_at = &meeting;
  fiber.waits_in = meeting.generation;
  ++meeting.arrived;
  meeting.open_if_all_are_here();
  while (!fiber.can_go_on()) yield();
  fiber.waits_at = nullptr;
}

Meeting& warp() { return running->warps[thread_index.x / kWarp]; }

/// What a fiber runs.
void run_thread() {
  Block& block = *running;
  try {
    (*block.kernel)();
  } catch (...) {
    block.error = std::current_exception();
  }
  block.all.leave();
  warp().leave();
  block.current().has_ended = true;
  _longjmp(block.scheduler, 1);
}

void prepare(Fiber& fiber) {
  fiber.has_begun = false;
  fiber.has_ended = false;
  fiber.is_looking = false;
  fiber.waits_at = nullptr;
  getcontext(&fiber.beginning);
  fiber.beginning.uc_stack.ss_sp = fiber.stack.get();
  fiber.beginning.uc_stack.ss_size = kStackBytes;
  fiber.beginning.uc_link = nullptr;
  makecontext(&fiber.beginning, run_thread, 0);
}

/// Lets a fiber run until it waits or ends.
void resume(Fiber& fiber) {
  if (_setjmp(running->scheduler) != 0) return;
  if (fiber.has_begun) _longjmp(fiber.place, 1);
  fiber.has_begun = true;
  setcontext(&fiber.beginning);
}

/// Each warp of a block as far as it comes, but for warp `late`.
void advance(Block& block, int late) {
  running = &block;
  block_index = block.index;
  const auto count = static_cast<unsigned>(block.fibers.size());
  for (unsigned first = 0; first < count; first += kWarp) {
    if (static_cast<int>(first / kWarp) == late) continue;
    for (unsigned i = first; i < first + kWarp; ++i) {
      block.fibers[i]->is_looking = false;
    }
    for (bool moves = true; moves;) {
      moves = false;
      for (unsigned i = first; i < first + kWarp; ++i) {
        auto& fiber = *block.fibers[i];
        if (fiber.is_looking || !fiber.can_go_on()) continue;
        moves = true;
        thread_index.x = i;
        resume(fiber);
        if (block.error) std::rethrow_exception(block.error);
      }
    }
  }
}

std::size_t count_ended(const Block& block) {
  return static_cast<std::size_t>(std::ranges::count_if(
      block.fibers, [](const Fiber* fiber) { return fiber->has_ended; }));
}
bool has_ended(const Block& block) {
  return count_ended(block) == block.fibers.size();
}

/// Grows when threads do what they cannot do for ever while they look again:
/// end, or pass a barrier of more than a warp.
std::size_t count_steps(std::span<const Block> blocks) {
  std::size_t steps = 0;
  for (const auto& block : blocks) {
    steps += count_ended(block) + block.all.generation;
    for (const auto& group : block.groups) steps += group.generation;
  }
  return steps;
}

/// Until all have ended. Nobody can wait for ever at a barrier: who has ended
/// is no longer waited for. Warp `late` of all is left behind, unless it is -1.
void run(std::span<Block> blocks, int late) {
  // A thread that looks for something may vote about it with its warp, and see
  // it long before it does a step: how long, only a very long wait tells.
  constexpr int kMostInVain = 1000;
  constexpr int kPatience = 3;  // of others with the late one
  std::size_t steps = 0;
  for (int in_vain = 0; !std::ranges::all_of(blocks, has_ended);) {
    int its_late = in_vain < kPatience ? late : -1;
    for (auto& block : blocks) {
      advance(block, its_late);
      its_late -= static_cast<int>(block.warps.size());
    }
    const auto now = count_steps(blocks);
    in_vain = now != steps ? 0 : in_vain + 1;
    steps = now;
    if (in_vain < kMostInVain) continue;
    throw std::logic_error("threads wait for what nobody writes");
  }
}

/// From launch to launch, as making them takes longer than most kernels run.
std::vector<std::unique_ptr<Fiber>> kept_fibers;

/// A block at its beginning; its fibers are those kept from `first` on.
Block make_block(const EmulatedShape& shape,
                 const std::function<void()>& kernel, const Index3& index,
                 std::size_t first) {
  while (kept_fibers.size() < first + shape.block) {
    kept_fibers.push_back(std::make_unique<Fiber>());
  }
  Block block;
  block.kernel = &kernel;
  block.index = index;
  block.shared.assign(shape.shared_bytes, 0xff);
  block.all = {shape.block};
  block.warps.assign(shape.block / kWarp, {kWarp});
  block.exchanged.resize(shape.block / kWarp);
  for (unsigned i = 0; i < shape.block; ++i) {
    block.fibers.push_back(kept_fibers[first + i].get());
    prepare(*block.fibers.back());
  }
  return block;
}

/// The grid of one kernel, called as every thread.
void run_grid(const EmulatedShape& shape, const std::function<void()>& kernel) {
  if (shape.block == 0 || shape.block % kWarp != 0) {
    throw std::invalid_argument("a block is whole warps of 32 threads");
  }
  block_dim = {shape.block, 1, 1};
  grid_dim = {shape.grid_x, shape.grid_y, shape.grid_z};
  std::vector<Block> together;
  for (unsigned z = 0; z < shape.grid_z; ++z) {
    for (unsigned y = 0; y < shape.grid_y; ++y) {
      for (unsigned x = 0; x < shape.grid_x; ++x) {
        together.push_back(make_block(shape, kernel, {x, y, z},
                                      together.size() * shape.block));
        if (shape.runs_together) continue;
        run(together, shape.late_warp);
        together.clear();
      }
    }
  }
  run(together, shape.late_warp);
  running = nullptr;
}

}  // namespace

Registration::Registration(const char* name, std::size_t args_bytes,
                           void (*run)(const void* args)) {
  kernels()[name] = {args_bytes, run};
}

unsigned char* shared_bytes() { return running->shared.data(); }

void meet_block() { meet(running->all); }

void meet_warp() {
  if (warp().alive != kWarp) {
    throw std::logic_error("a warp acts together, and lanes have ended");
  }
  meet(warp());
}

void meet_group(int group, int threads) {
  auto& meeting = running->groups.at(static_cast<std::size_t>(group));
  meeting.alive = static_cast<unsigned>(threads);
  meet(meeting);
}

void look_again() {
  running->current().is_looking = true;
  yield();
}

void exchange(const void* mine, std::size_t bytes,
              const std::function<void(const unsigned char* all)>& use) {
  auto& slots = running->exchanged[thread_index.x / kWarp];
  slots.resize(std::max(slots.size(), bytes * kWarp));
  std::memcpy(slots.data() + bytes * (thread_index.x % kWarp), mine, bytes);
  meet_warp();
  use(slots.data());
  meet_warp();
}

std::uint16_t to_f16(float x) {
  const unsigned u = __float_as_uint(x);
  const auto sign = static_cast<std::uint16_t>(u >> 16 & 0x8000U);
  if (std::isnan(x)) return sign | 0x7e00U;
  const double magnitude = std::abs(double{x});
  if (magnitude >= 65520) return sign | 0x7c00U;
  // Spacing of float16 there; nearbyint rounds ties to even.
  const int exponent = magnitude < 0x1p-14 ? -14 : std::ilogb(magnitude);
  const auto steps = static_cast<unsigned>(
      std::nearbyint(std::ldexp(magnitude, 10 - exponent)));
  // 1024 steps and more carry into the exponent by themselves.
  const auto bits = (static_cast<unsigned>(exponent + 14) << 10) + steps;
  return static_cast<std::uint16_t>(sign | bits);
}

float from_f16(std::uint16_t half) {
  const int exponent = half >> 10 & 0x1f;
  const int digits = half & 0x3ff;
  const float sign = (half & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 0x1f) return digits != 0 ? NAN : sign * HUGE_VALF;
  if (exponent == 0) return sign * std::ldexp(float(digits), -24);
  return sign * std::ldexp(float(1024 + digits), exponent - 25);
}

std::uint16_t to_bf16(float x) {
  const unsigned u = __float_as_uint(x);
  if (std::isnan(x)) return static_cast<std::uint16_t>((u >> 16) | 0x40U);
  return static_cast<std::uint16_t>((u + 0x7fffU + ((u >> 16) & 1U)) >> 16);
}

float from_bf16(std::uint16_t half) {
  return __uint_as_float(static_cast<unsigned>(half) << 16);
}

void multiply_add(float (&c)[4], const std::uint32_t (&a)[4],
                  const std::uint32_t (&b)[2],
                  float (*from)(std::uint16_t half)) {
  struct Fragments {
    std::uint32_t a[4], b[2];
  } mine{};
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  exchange(&mine, sizeof mine, [&](const unsigned char* bytes) {
    const auto* lanes = reinterpret_cast<const Fragments*>(bytes);
    const unsigned g = thread_index.x % kWarp / 4;
    const unsigned t = thread_index.x % 4;
    const auto half = [&](std::uint32_t word, unsigned k) {
      return from(static_cast<std::uint16_t>(word >> (16 * (k % 2))));
    };
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = g + 8 * (i / 2);
      const unsigned col = 2 * t + i % 2;
      for (unsigned k = 0; k < 16; ++k) {
        const auto& row_lane = lanes[row % 8 * 4 + k % 8 / 2];
        const auto& col_lane = lanes[col * 4 + k % 8 / 2];
        c[i] += half(row_lane.a[row / 8 + 2 * (k / 8)], k) *
                half(col_lane.b[k / 8], k);
      }
    }
  });
}

}  // namespace emulator

void multiply_add_bytes(int (&c)[4], const std::uint32_t (&a)[4],
                        const std::uint32_t (&b)[2]) {
  struct Fragments {
    std::uint32_t a[4], b[2];
  } mine{};
  std::memcpy(mine.a, a, sizeof a);
  std::memcpy(mine.b, b, sizeof b);
  emulator::exchange(&mine, sizeof mine, [&](const unsigned char* bytes) {
    const auto* lanes = reinterpret_cast<const Fragments*>(bytes);
    const unsigned lane = threadIdx.x % emulator::kWarp;
    const auto byte = [](std::uint32_t word, unsigned k) {
      return word >> (8 * (k % 4)) & 0xffU;
    };
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = lane / 4 + 8 * (i / 2);
      const unsigned col = 2 * (lane % 4) + i % 2;
      for (unsigned k = 0; k < 32; ++k) {
        const auto& row_lane = lanes[row % 8 * 4 + k % 16 / 4];
        const auto& col_lane = lanes[col * 4 + k % 16 / 4];
        c[i] += static_cast<int>(byte(row_lane.a[row / 8 + 2 * (k / 16)], k)) *
                static_cast<std::int8_t>(byte(col_lane.b[k / 16], k));
      }
    }
  });
}

std::size_t emulated_args_bytes(std::string_view name) {
  return emulator::find_kernel(name).args_bytes;
}

void emulate(std::string_view name, const EmulatedShape& shape,
             const void* args, std::size_t args_bytes) {
  const auto& kernel = emulator::find_kernel(name);
  if (args_bytes != kernel.args_bytes) {
    throw std::invalid_argument(std::string(name) + " takes other arguments");
  }
  try {
    emulator::run_grid(shape, [&] { kernel.run(args); });
  } catch (...) {
    // They are amid of something, and so are their stacks.
    emulator::kept_fibers.clear();
    throw;
  }
}

}  // namespace llamlx::cuda
