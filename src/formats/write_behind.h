#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>

#include "formats/tensor_writer.h"

namespace llamlx {

/// Hands tensors to another writer on a thread of its own, so that the next
/// ones are computed while these are copied to the file.
///
/// What waits to be written stays in memory: append() and append_rows() return
/// when it is at most `max_bytes`.
///
/// Errors   those of the other writer, from any later call; then it can only be
///          destroyed, which gives up what waits.
/// Threads  one at a time.
class WriteBehind final : public TensorWriter {
 public:
  /// `writer` must outlive this.
  WriteBehind(TensorWriter& writer, std::size_t max_bytes);
  ~WriteBehind() override;

  void append(std::string_view name, const mx::array& values) override;
  void append_rows(std::string_view name, const mx::array& rows) override;
  void finish() override;

 private:
  struct Item {
    std::string name;
    mx::array values;
    bool is_whole;
  };

  void put(Item item);
  void wait_for(std::size_t bytes);
  void write_items();

  TensorWriter& writer_;
  const std::size_t max_bytes_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<Item> items_;    // the first is being written
  std::size_t waiting_ = 0;   // bytes of items_
  std::exception_ptr error_;  // of the thread
  bool is_stopping_ = false;
  std::thread thread_;  // last: it uses all the others
};

}  // namespace llamlx
