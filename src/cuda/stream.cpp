#include "cuda/stream.h"

#include "cuda/device.h"
#include "cuda/driver.h"

namespace llamlx {

void DestroyCudaHandle::operator()(CUstream_st* stream) const noexcept {
  if (enter_cuda_device()) driver().stream_destroy(stream);
}

void DestroyCudaHandle::operator()(CUevent_st* event) const noexcept {
  if (enter_cuda_device()) driver().event_destroy(event);
}

Event::Event(EventTiming timing) {
  cuda_device();
  CUevent event = nullptr;
  const unsigned flags =
      timing == EventTiming::on ? CU_EVENT_DEFAULT : CU_EVENT_DISABLE_TIMING;
  check_driver(driver().event_create(&event, flags), "make an event");
  event_.reset(event);
}

void Event::record(Stream& stream) {
  cuda_device();
  check_driver(driver().event_record(handle(), stream.handle()),
               "record an event");
}

void Event::synchronize() const {
  cuda_device();
  check_driver(driver().event_synchronize(handle()), "wait for its work");
}

bool Event::is_done() const {
  cuda_device();
  const auto result = driver().event_query(handle());
  if (result == CUDA_ERROR_NOT_READY) return false;
  check_driver(result, "do its work");
  return true;
}

float elapsed_ms(const Event& from, const Event& to) {
  cuda_device();
  float milliseconds = 0;
  check_driver(
      driver().event_elapsed_time(&milliseconds, from.handle(), to.handle()),
      "tell the time between two events");
  return milliseconds;
}

Stream::Stream() {
  cuda_device();
  CUstream stream = nullptr;
  check_driver(driver().stream_create(&stream, CU_STREAM_NON_BLOCKING),
               "make a stream");
  stream_.reset(stream);
}

void Stream::synchronize() {
  cuda_device();
  check_driver(driver().stream_synchronize(handle()), "do its work");
}

void Stream::wait(const Event& event) {
  cuda_device();
  check_driver(driver().stream_wait_event(handle(), event.handle(),
                                          CU_EVENT_WAIT_DEFAULT),
               "wait for an event");
}

}  // namespace llamlx
