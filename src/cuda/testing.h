#pragma once

#include <vector>

#include <gtest/gtest.h>

#include "cuda/device.h"
#include "cuda/memory.h"
#include "cuda/modules.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

/// Tests that need a GPU, and are left out where there is none.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  }
};

/// For SetUp() of those that need one whose matrix unit takes warpgroups.
inline void skip_without_warpgroups() {
  if (!cuda_device_info() || !has_warpgroups(*cuda_device_info())) {
    GTEST_SKIP() << "needs a GPU with warpgroups";
  }
}

}  // namespace llamlx::testing
