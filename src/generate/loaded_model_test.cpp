#include "generate/loaded_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

TEST(ResolveBackendTest, RefusesCachesOf8BitsWhereThereAreNone) {
  for (const auto processor : {Processor::cpu, Processor::mlx}) {
    const auto message = testing::error_of(ErrorCode::unsupported, [&] {
      resolve_backend(processor, mx::float32, 1, 8);
    });
    EXPECT_THAT(message, ::testing::StartsWith("--kv-bits 8: "));
    EXPECT_THAT(message, ::testing::HasSubstr("--device gpu"));
    EXPECT_THROW(resolve_backend(processor, mx::float32, 1, 4),
                 std::invalid_argument);
  }
}

}  // namespace
}  // namespace llamlx
