#include "formats/write_behind.h"

#include <future>
#include <mutex>
#include <stdexcept>
#include <utility>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <mlx/ops.h>

#include "base/concat.h"

namespace llamlx {
namespace {

using ::testing::ElementsAre;

/// Notes what is written, and writes nothing before it may.
class Recorder : public TensorWriter {
 public:
  explicit Recorder(bool is_open = true) {
    if (is_open) gate.set_value();
  }

  void append(std::string_view name, const mx::array& values) override {
    note(name, values);
  }
  void append_rows(std::string_view name, const mx::array& rows) override {
    note(concat("rows of ", name), rows);
  }
  void finish() override { calls.emplace_back("finish"); }

  /// How many have been written, while others may be.
  std::size_t count() const {
    const std::lock_guard lock(mutex_);
    return calls.size();
  }

  std::promise<void> gate;
  std::string refused;
  std::vector<std::string> calls;

 private:
  void note(std::string_view name, const mx::array& values) {
    opened_.wait();
    if (name == refused) throw std::runtime_error("disk full");
    const auto sum = mx::sum(values).item<float>();
    const std::lock_guard lock(mutex_);
    calls.push_back(concat(name, " ", sum));
  }

  mutable std::mutex mutex_;
  std::shared_future<void> opened_ = gate.get_future();
};

TEST(WriteBehind, HandsOnEverythingInOrder) {
  Recorder recorder;
  WriteBehind writer(recorder, 1 << 20);
  for (int i = 0; i < 3; ++i) {
    writer.append(concat(i), mx::full({4}, static_cast<float>(i)));
    writer.append_rows("w", mx::full({2, 2}, 10.0f));
  }
  writer.finish();
  EXPECT_THAT(recorder.calls,
              ElementsAre("0 0", "rows of w 40", "1 4", "rows of w 40", "2 8",
                          "rows of w 40", "finish"));
}

TEST(WriteBehind, ReturnsBeforeItIsWritten) {
  Recorder recorder(/*is_open=*/false);
  WriteBehind writer(recorder, 64);
  writer.append("a", mx::zeros({8}));
  writer.append("b", mx::zeros({8}));  // 64 bytes wait now
  recorder.gate.set_value();
  writer.finish();
  EXPECT_THAT(recorder.calls, ElementsAre("a 0", "b 0", "finish"));
}

TEST(WriteBehind, WaitsWhileTooMuchIsNotWritten) {
  Recorder recorder(/*is_open=*/false);
  WriteBehind writer(recorder, 63);
  auto second = std::async(std::launch::async, [&] {
    writer.append("a", mx::zeros({8}));
    writer.append("b", mx::zeros({8}));
    return recorder.count();
  });
  recorder.gate.set_value();
  EXPECT_GE(second.get(), 1u);
  writer.finish();
}

TEST(WriteBehind, WritesRowsThatDoNotLieTogether) {
  Recorder recorder;
  WriteBehind writer(recorder, 64);
  const auto square = mx::reshape(mx::arange(4.0f), {2, 2});
  writer.append("t", mx::slice(square, {0, 1}, {2, 2}));
  writer.finish();
  EXPECT_THAT(recorder.calls, ElementsAre("t 4", "finish"));
}

TEST(WriteBehind, TellsOfErrorsLater) {
  Recorder recorder;
  recorder.refused = "a";
  WriteBehind writer(recorder, 64);
  EXPECT_THROW(
      {
        writer.append("a", mx::zeros({8}));
        writer.finish();
      },
      std::runtime_error);
  EXPECT_THROW(writer.append("b", mx::zeros({8})), std::runtime_error);
  EXPECT_THAT(recorder.calls, ElementsAre());
}

TEST(WriteBehind, GivesUpWhatWaitsWhenItDies) {
  Recorder recorder(/*is_open=*/false);
  {
    WriteBehind writer(recorder, 1 << 20);
    writer.append("a", mx::zeros({8}));
    writer.append("b", mx::zeros({8}));
    recorder.gate.set_value();
  }
  EXPECT_LE(recorder.calls.size(), 2u);  // and did not wait for ever
}

}  // namespace
}  // namespace llamlx
