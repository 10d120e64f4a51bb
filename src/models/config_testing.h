#pragma once

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/error.h"
#include "models/model_config.h"

namespace llamlx::testing {

/// That the checkpoint's config is refused, in one line with `part` in it.
inline void expect_refused_config(const Checkpoint& checkpoint,
                                  const char* part) {
  std::string message;
  try {
    read_model_config(checkpoint);
  } catch (const Error& error) {
    message = error.what();
  }
  EXPECT_THAT(message, ::testing::HasSubstr(part));
  EXPECT_THAT(message, ::testing::Not(::testing::HasSubstr("\n")));
}

}  // namespace llamlx::testing
