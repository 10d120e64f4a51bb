#pragma once

#include <memory>

struct CUstream_st;
struct CUevent_st;

namespace llamlx {

struct DestroyCudaHandle {
  void operator()(CUstream_st* stream) const noexcept;
  void operator()(CUevent_st* event) const noexcept;
};

enum class EventTiming { off, on };

class Stream;

/// A point in the work of a stream. Errors: Error of the GPU.
/// Example:
///     Event before(EventTiming::on), after(EventTiming::on);
///     before.record(stream);
///     launch(stream, ...);
///     after.record(stream);
///     after.synchronize();
///     elapsed_ms(before, after);
class Event {
 public:
  explicit Event(EventTiming timing = EventTiming::off);

  /// The point is where the stream's work now ends.
  void record(Stream& stream);
  /// Waits until the work before the point is done; an event that was never
  /// recorded is.
  void synchronize() const;
  bool is_done() const;

  CUevent_st* handle() const { return event_.get(); }

 private:
  std::unique_ptr<CUevent_st, DestroyCudaHandle> event_;
};

/// Milliseconds from one point to another. Both events are timed, and done.
float elapsed_ms(const Event& from, const Event& to);

/// A queue of work for the GPU, which goes on beside all other streams. An
/// error of a kernel is thrown by a later call, whichever that is.
class Stream {
 public:
  Stream();

  /// Waits until all work that was put in is done.
  void synchronize();
  /// What is put in from now on waits for `event`.
  void wait(const Event& event);

  CUstream_st* handle() const { return stream_.get(); }

 private:
  std::unique_ptr<CUstream_st, DestroyCudaHandle> stream_;
};

}  // namespace llamlx
