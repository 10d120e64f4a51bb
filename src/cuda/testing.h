#pragma once

#include <gtest/gtest.h>

#include "cuda/device.h"

// Only *_test.cpp files include this.
namespace llamlx::testing {

/// Tests that need a GPU, and are left out where there is none.
class GpuTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!cuda_device_info()) GTEST_SKIP() << cuda_absence();
  }
};

}  // namespace llamlx::testing
