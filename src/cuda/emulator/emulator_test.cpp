#include "cuda/emulator/emulator.h"

#include <stdexcept>
#include <vector>

#include <gtest/gtest.h>

#include "cuda/intrinsics.h"

namespace llamlx::cuda {
namespace {

/// Blocks take turns: the one whose turn it is adds one to `turn`.
struct TurnsArgs {
  std::uint32_t* turn;
  std::uint32_t turns;
  bool votes;  ///< warps look together
};

void await_turn(const TurnsArgs& args, std::uint32_t turn) {
  const auto is_early = [&] { return load_shared_word(args.turn) < turn; };
  while (args.votes ? any_lane(is_early()) : is_early()) look_again();
}

}  // namespace

LLAMLX_KERNEL(emulator_test_turns, TurnsArgs, 64, 1) {
  for (auto turn = blockIdx.x; turn < args.turns; turn += 2) {
    await_turn(args, turn);
    if (threadIdx.x == 0) store_shared_word(args.turn, turn + 1);
  }
}

namespace {

std::uint32_t take_turns(unsigned blocks, bool votes) {
  std::uint32_t turn = 0;
  emulate("emulator_test_turns",
          {.grid_x = blocks, .block = 64, .runs_together = true},
          TurnsArgs{&turn, 300, votes});
  return turn;
}

TEST(Emulator, BlocksWaitForEachOtherWithoutBarriers) {
  for (const bool votes : {false, true}) EXPECT_EQ(take_turns(2, votes), 300);
}

/// Every warp writes its number, a later one over an earlier one's.
struct LastArgs {
  unsigned* last;
};

}  // namespace

LLAMLX_KERNEL(emulator_test_last, LastArgs, 64, 1) {
  *args.last = blockIdx.x * 2 + threadIdx.x / 32;
}

namespace {

TEST(Emulator, LeavesTheLateWarpBehind) {
  for (int late = 0; late < 4; ++late) {
    unsigned last = 9;
    emulate(
        "emulator_test_last",
        {.grid_x = 2, .block = 64, .runs_together = true, .late_warp = late},
        LastArgs{&last});
    EXPECT_EQ(last, static_cast<unsigned>(late));
  }
}

TEST(Emulator, TellsOfThreadsThatWaitForWhatNobodyWrites) {
  for (const bool votes : {false, true}) {
    EXPECT_THROW(take_turns(1, votes), std::logic_error) << votes;
  }
}

}  // namespace
}  // namespace llamlx::cuda
