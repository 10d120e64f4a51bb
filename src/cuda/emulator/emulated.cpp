// The room as a build with LLAMLX_CUDA=EMULATED has it: a GPU of three
// multiprocessors whose kernels the emulator runs, when they are put into a
// stream. All of a decoder can so be tested where there is no GPU. It has
// LLAMLX_EMULATED_GPU_MEMORY bytes, whenever that is set.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/mman.h>

#include "cuda/device.h"
#include "cuda/emulator/emulator.h"
#include "cuda/graph.h"
#include "cuda/kernel.h"
#include "cuda/memory.h"
#include "cuda/modules.h"
#include "cuda/out_of_memory.h"
#include "cuda/stream.h"

struct CUfunc_st {
  std::string name;
};

namespace {

struct RecordedLaunch {
  std::string kernel;
  llamlx::cuda::EmulatedShape shape;
  std::vector<std::byte> args;

  void run() const {
    static std::mutex one_at_a_time;
    const std::scoped_lock lock(one_at_a_time);
    llamlx::cuda::emulate(kernel, shape, args.data(), args.size());
  }
};

}  // namespace

struct CUstream_st {
  std::vector<RecordedLaunch>* recording = nullptr;
};
struct CUevent_st {};
struct CUgraph_st {
  std::vector<RecordedLaunch> launches;
};
struct CUgraphExec_st {};

namespace llamlx {
namespace {

std::uint64_t memory_bytes() {
  const char* set = std::getenv("LLAMLX_EMULATED_GPU_MEMORY");
  return set != nullptr ? std::strtoull(set, nullptr, 10)
                        : std::uint64_t{8} << 30;
}

/// Memory whose every number is NaN, in pages of its own: once it is freed, who
/// touches it is stopped, as by a GPU.
class Memory {
 public:
  void* take(std::size_t bytes) {
    if (bytes == 0) return nullptr;
    void* const pages = mmap(nullptr, bytes, PROT_READ | PROT_WRITE,
                             MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) throw std::bad_alloc();
    std::memset(pages, 0xff, bytes);
    const std::scoped_lock lock(mutex_);
    sizes_.emplace(pages, bytes);
    used_ += bytes;
    return pages;
  }
  void give_back(void* pages) {
    const std::scoped_lock lock(mutex_);
    const auto bytes = sizes_.extract(pages).mapped();
    used_ -= bytes;
    madvise(pages, bytes, MADV_DONTNEED);
    mprotect(pages, bytes, PROT_NONE);
  }

  std::uint64_t used() const {
    const std::scoped_lock lock(mutex_);
    return used_;
  }

 private:
  mutable std::mutex mutex_;
  std::map<void*, std::size_t> sizes_;
  std::uint64_t used_ = 0;
};

// Beyond the end of other statics.
Memory& device_memory() {
  static auto* const kept = new Memory;
  return *kept;
}
Memory& host_memory() {
  static auto* const kept = new Memory;
  return *kept;
}

void* take_device_memory(std::size_t bytes) {
  if (bytes > cuda_device_info()->free_bytes) fail_for_memory(bytes);
  return device_memory().take(bytes);
}

/// What a block may have, in KiB: as on Hopper, or less, as on other GPUs.
int shared_bytes() {
  const char* const kib = std::getenv("LLAMLX_EMULATED_SHARED");
  return (kib == nullptr ? 227 : std::stoi(kib)) << 10;
}

}  // namespace

std::span<const CudaModule> cuda_modules() { return {}; }
std::string_view cuda_architectures() { return "emulated"; }

std::optional<CudaDeviceInfo> cuda_device_info() {
  auto info = cuda_device();
  info.memory_bytes = memory_bytes();
  info.free_bytes =
      info.memory_bytes - std::min(info.memory_bytes, device_memory().used());
  return info;
}
std::string cuda_absence() { return {}; }
const CudaDeviceInfo& cuda_device() {
  static const CudaDeviceInfo info{
      "an emulated GPU", 90,      3,    shared_bytes(), memory_bytes(),
      memory_bytes(),    1 << 20, 13000};
  return info;
}
bool enter_cuda_device() noexcept { return true; }

void DestroyCudaHandle::operator()(CUstream_st* stream) const noexcept {
  delete stream;
}
void DestroyCudaHandle::operator()(CUevent_st* event) const noexcept {
  delete event;
}
Event::Event(EventTiming) : event_(new CUevent_st) {}
void Event::record(Stream&) {}
void Event::synchronize() const {}
bool Event::is_done() const { return true; }
float elapsed_ms(const Event&, const Event&) { return 1; }
Stream::Stream() : stream_(new CUstream_st) {}
void Stream::synchronize() {}
void Stream::wait(const Event&) {}

void FreeDeviceMemory::operator()(void* freed) const noexcept {
  device_memory().give_back(freed);
}
void FreeHostMemory::operator()(void* freed) const noexcept {
  host_memory().give_back(freed);
}
DeviceBuffer::DeviceBuffer(std::size_t bytes)
    : memory_(take_device_memory(bytes)), bytes_(bytes) {}
HostBuffer::HostBuffer(std::size_t bytes)
    : memory_(host_memory().take(bytes)),
      device_data_(memory_.get()),
      bytes_(bytes) {}

void upload(Stream& stream, void* device, const void* host, std::size_t bytes) {
  copy_on_device(stream, device, host, bytes);
}
void download(Stream& stream, void* host, const void* device,
              std::size_t bytes) {
  copy_on_device(stream, host, device, bytes);
}
void copy_on_device(Stream& stream, void* to, const void* from,
                    std::size_t bytes) {
  if (stream.handle()->recording != nullptr) {
    throw std::logic_error("a copy is not recorded here");
  }
  std::memcpy(to, from, bytes);
}
void fill_zero(Stream&, void* device, std::size_t bytes) {
  std::memset(device, 0, bytes);
}

Kernel::Kernel(CUfunc_st* function)
    : function_(function),
      args_bytes_(cuda::emulated_args_bytes(function->name)),
      allowed_shared_(0) {}
int Kernel::registers() const { return 32; }
void Kernel::allow_shared(unsigned) const {}

const Kernel& cuda_kernel(std::string_view, std::string_view name) {
  static std::mutex mutex;
  static std::map<std::string, CUfunc_st> functions;
  static std::map<std::string, Kernel> kernels;
  const std::scoped_lock lock(mutex);
  const std::string key(name);
  auto& function = functions[key];
  function.name = key;
  return kernels.try_emplace(key, &function).first->second;
}

int blocks_per_multiprocessor(const Kernel&, unsigned, unsigned) { return 2; }
int clusters_at_once(const Kernel&, const LaunchShape&) { return 0; }

void launch_bytes(Stream& stream, const Kernel& kernel,
                  const LaunchShape& shape, const void* args,
                  std::size_t args_bytes) {
  const auto* bytes = static_cast<const std::byte*>(args);
  RecordedLaunch launch{kernel.function()->name,
                        {shape.grid_x, shape.grid_y, shape.grid_z, shape.block,
                         shape.shared_bytes, shape.runs_together},
                        {bytes, bytes + args_bytes}};
  if (auto* recording = stream.handle()->recording) {
    recording->push_back(std::move(launch));
  } else {
    launch.run();
  }
}

void DestroyCudaGraph::operator()(CUgraph_st* graph) const noexcept {
  delete graph;
}
void DestroyCudaGraph::operator()(CUgraphExec_st* graph) const noexcept {
  delete graph;
}
Graph Graph::capture(Stream& stream, const std::function<void()>& work) {
  Graph graph;
  graph.graph_.reset(new CUgraph_st);
  stream.handle()->recording = &graph.graph_->launches;
  try {
    work();
  } catch (...) {
    stream.handle()->recording = nullptr;
    throw;
  }
  stream.handle()->recording = nullptr;
  return graph;
}
void Graph::launch(Stream&) {
  for (const auto& launch : graph_->launches) launch.run();
}
void Graph::set_first_bytes(const void* args, std::size_t args_bytes) {
  auto& first = graph_->launches.front().args;
  if (first.size() != args_bytes) {
    throw std::invalid_argument("the first kernel takes other arguments");
  }
  std::memcpy(first.data(), args, args_bytes);
}

}  // namespace llamlx
