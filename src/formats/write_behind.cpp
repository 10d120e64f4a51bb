#include "formats/write_behind.h"

#include <utility>

#include "tensor/weight.h"

namespace llamlx {

WriteBehind::WriteBehind(TensorWriter& writer, std::size_t max_bytes)
    : writer_(writer),
      max_bytes_(max_bytes),
      thread_([this] { write_items(); }) {}

WriteBehind::~WriteBehind() {
  {
    const std::lock_guard lock(mutex_);
    is_stopping_ = true;
  }
  changed_.notify_all();
  thread_.join();
}

void WriteBehind::append(std::string_view name, const mx::array& values) {
  put({std::string(name), values, true});
}

void WriteBehind::append_rows(std::string_view name, const mx::array& rows) {
  put({std::string(name), rows, false});
}

void WriteBehind::finish() {
  wait_for(0);
  writer_.finish();
}

void WriteBehind::put(Item item) {
  // Here, as MLX's streams belong to threads.
  item.values = row_by_row(item.values);
  {
    const std::lock_guard lock(mutex_);
    waiting_ += item.values.nbytes();
    items_.push_back(std::move(item));
  }
  changed_.notify_all();
  wait_for(max_bytes_);
}

void WriteBehind::wait_for(std::size_t bytes) {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [&] {
    return error_ || items_.empty() || (bytes > 0 && waiting_ <= bytes);
  });
  if (error_) std::rethrow_exception(error_);
}

void WriteBehind::write_items() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [&] { return is_stopping_ || !items_.empty(); });
    if (is_stopping_) return;
    // No other call touches the first.
    auto& item = items_.front();
    lock.unlock();
    std::exception_ptr error;
    try {
      if (item.is_whole) {
        writer_.append(item.name, item.values);
      } else {
        writer_.append_rows(item.name, item.values);
      }
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    error_ = error;
    waiting_ -= item.values.nbytes();
    items_.pop_front();
    changed_.notify_all();
    if (error_) return;
  }
}

}  // namespace llamlx
