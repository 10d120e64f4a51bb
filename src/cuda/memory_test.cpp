#include "cuda/memory.h"

#include <cstdint>
#include <cstring>
#include <vector>

#include <gmock/gmock.h>

#include "base/error.h"
#include "cuda/testing.h"

namespace llamlx {
namespace {

using ::testing::Each;
using ::testing::HasSubstr;

using GpuMemoryTest = testing::GpuTest;
using Bytes = std::vector<std::uint8_t>;

Bytes counted(std::size_t count) {
  Bytes bytes(count);
  for (std::size_t i = 0; i < count; ++i) {
    bytes[i] = static_cast<std::uint8_t>(i * 7 + i / 251);
  }
  return bytes;
}

TEST_F(GpuMemoryTest, BringsBackWhatWasUploaded) {
  Stream stream;
  const std::size_t piece = std::size_t{8} << 20;
  for (const std::size_t count :
       {std::size_t{0}, std::size_t{1}, std::size_t{4099}, piece - 1, piece + 1,
        3 * piece + 12345}) {
    const auto sent = counted(count);
    const DeviceBuffer buffer(count);
    Bytes got(count);
    upload(stream, buffer.data(), sent.data(), count);
    download(stream, got.data(), buffer.data(), count);
    stream.synchronize();
    EXPECT_EQ(got, sent) << count;
  }
}

TEST_F(GpuMemoryTest, CopiesFromMemoryThatIsFreeAtOnce) {
  Stream stream;
  const std::size_t count = (std::size_t{20} << 20) + 5;
  const DeviceBuffer buffer(2 * count);
  const auto sent = counted(count);
  auto copy = sent;
  upload(stream, buffer.data(), copy.data(), count);
  std::fill(copy.begin(), copy.end(), std::uint8_t{0});
  auto* second = buffer.as<std::uint8_t>() + count;
  copy_on_device(stream, second, buffer.data(), count);
  download(stream, copy.data(), second, count);
  stream.synchronize();
  EXPECT_EQ(copy, sent);
}

TEST_F(GpuMemoryTest, FillsWithZerosWhatItIsTold) {
  Stream stream;
  const DeviceBuffer buffer(101);
  Bytes got(101, 9);
  upload(stream, buffer.data(), got.data(), got.size());
  fill_zero(stream, buffer.as<std::uint8_t>() + 1, 99);
  download(stream, got.data(), buffer.data(), got.size());
  stream.synchronize();
  EXPECT_EQ(got.front(), 9);
  EXPECT_EQ(got.back(), 9);
  EXPECT_THAT(Bytes(got.begin() + 1, got.end() - 1), Each(0));
}

TEST_F(GpuMemoryTest, PinnedMemoryIsOneForBoth) {
  Stream stream;
  const HostBuffer host(4096);
  const DeviceBuffer device(4096);
  std::memset(host.data(), 5, host.bytes());
  copy_on_device(stream, device.data(), host.device_data(), host.bytes());
  fill_zero(stream, host.device_data(), 1);
  HostBuffer back(4096);
  download(stream, back.data(), device.data(), back.bytes());
  stream.synchronize();
  EXPECT_EQ(host.as<std::uint8_t>()[0], 0);
  EXPECT_EQ(host.as<std::uint8_t>()[1], 5);
  EXPECT_EQ(std::memcmp(host.as<char>() + 1, back.as<char>() + 1, 4095), 0);
}

TEST_F(GpuMemoryTest, TooMuchIsRefusedWithTheNumbers) {
  const auto total = cuda_device_info()->memory_bytes;
  try {
    const DeviceBuffer buffer(2 * total);
    ADD_FAILURE() << "got twice the memory there is";
  } catch (const Error& error) {
    EXPECT_EQ(error.code(), ErrorCode::out_of_memory);
    EXPECT_THAT(error.what(), HasSubstr("free"));
  }
  const DeviceBuffer still_works(1 << 20);
}

TEST_F(GpuMemoryTest, BuffersMove) {
  DeviceBuffer first(64);
  const void* address = first.data();
  DeviceBuffer second = std::move(first);
  EXPECT_EQ(second.data(), address);
  EXPECT_EQ(second.bytes(), 64U);
}

}  // namespace
}  // namespace llamlx
