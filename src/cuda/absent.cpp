// The whole room in a build without nvcc: there is no GPU, and why. The
// objects cannot be made, so that what they do is never asked for.
#include "base/error.h"
#include "cuda/device.h"
#include "cuda/graph.h"
#include "cuda/kernel.h"
#include "cuda/memory.h"
#include "cuda/modules.h"
#include "cuda/stream.h"

namespace llamlx {
namespace {

[[noreturn]] void absent() {
  fail(ErrorCode::no_device, "GPU", cuda_absence(), "run on the CPU");
}

}  // namespace

std::span<const CudaModule> cuda_modules() { return {}; }
std::string_view cuda_architectures() { return ""; }

std::optional<CudaDeviceInfo> cuda_device_info() { return std::nullopt; }
std::string cuda_absence() { return "this build has no CUDA kernels"; }
const CudaDeviceInfo& cuda_device() { absent(); }
bool enter_cuda_device() noexcept { return false; }

void DestroyCudaHandle::operator()(CUstream_st*) const noexcept {}
void DestroyCudaHandle::operator()(CUevent_st*) const noexcept {}
Event::Event(EventTiming) { absent(); }
void Event::record(Stream&) { absent(); }
void Event::synchronize() const { absent(); }
bool Event::is_done() const { absent(); }
float elapsed_ms(const Event&, const Event&) { absent(); }
Stream::Stream() { absent(); }
void Stream::synchronize() { absent(); }
void Stream::wait(const Event&) { absent(); }

void FreeDeviceMemory::operator()(void*) const noexcept {}
void FreeHostMemory::operator()(void*) const noexcept {}
DeviceBuffer::DeviceBuffer(std::size_t) { absent(); }
HostBuffer::HostBuffer(std::size_t) { absent(); }
void upload(Stream&, void*, const void*, std::size_t) { absent(); }
void download(Stream&, void*, const void*, std::size_t) { absent(); }
void copy_on_device(Stream&, void*, const void*, std::size_t) { absent(); }
void fill_zero(Stream&, void*, std::size_t) { absent(); }

Kernel::Kernel(CUfunc_st*) { absent(); }
int Kernel::registers() const { absent(); }
void Kernel::allow_shared(unsigned) const { absent(); }
const Kernel& cuda_kernel(std::string_view, std::string_view) { absent(); }
int blocks_per_multiprocessor(const Kernel&, unsigned, unsigned) { absent(); }
int clusters_at_once(const Kernel&, const LaunchShape&) { absent(); }
void launch_bytes(Stream&, const Kernel&, const LaunchShape&, const void*,
                  std::size_t) {
  absent();
}

void DestroyCudaGraph::operator()(CUgraph_st*) const noexcept {}
void DestroyCudaGraph::operator()(CUgraphExec_st*) const noexcept {}
Graph Graph::capture(Stream&, const std::function<void()>&) { absent(); }
void Graph::launch(Stream&) { absent(); }
void Graph::set_first_bytes(const void*, std::size_t) { absent(); }

}  // namespace llamlx
