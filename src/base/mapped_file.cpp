#include "base/mapped_file.h"

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <iterator>
#include <map>
#include <mutex>
#include <utility>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"

namespace llamlx {
namespace {

/// Closes a file descriptor when the mapping is made or an error is thrown.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

std::uintptr_t address_of(std::span<const std::byte> bytes) {
  return reinterpret_cast<std::uintptr_t>(bytes.data());
}

/// Gives the kernel `advice` on all pages that `range` touches.
void advise(std::span<const std::byte> range, int advice) {
  const auto page = static_cast<std::uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto begin = address_of(range);
  const auto first = begin / page * page;
  ::madvise(reinterpret_cast<void*>(first), begin + range.size() - first,
            advice);
}

/// All that is mapped.
class Mappings {
 public:
  void add(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    all_.emplace(address_of(bytes), bytes);
  }
  void remove(std::span<const std::byte> bytes) {
    const std::lock_guard lock(mutex_);
    all_.erase(address_of(bytes));
  }
  /// The one that `range` lies in, or nothing.
  std::span<const std::byte> find(std::span<const std::byte> range) {
    const std::lock_guard lock(mutex_);
    const auto after = all_.upper_bound(address_of(range));
    if (after == all_.begin()) return {};
    const auto& [begin, bytes] = *std::prev(after);
    const bool is_within =
        address_of(range) + range.size() <= begin + bytes.size();
    return is_within ? bytes : std::span<const std::byte>{};
  }

 private:
  std::mutex mutex_;
  std::map<std::uintptr_t, std::span<const std::byte>> all_;
};

Mappings& mappings() {
  static auto* const mappings = new Mappings;  // outlives whoever is last
  return *mappings;
}

/// Lets go of `range` of `all`, which is mapped, and of its neighbours: Linux
/// maps a large page of its cache whole where one byte of it is touched, and
/// without them much would stay at the edges of tensors.
void release_within(std::span<const std::byte> all,
                    std::span<const std::byte> range) {
  if (range.empty()) return;
  const auto end = address_of(range) + range.size() + kLargePage - 1;
  const auto first =
      std::max(address_of(range) / kLargePage * kLargePage, address_of(all));
  const auto last =
      std::min(end / kLargePage * kLargePage, address_of(all) + all.size());
  ::madvise(reinterpret_cast<void*>(first), last - first, MADV_DONTNEED);
}

}  // namespace

MappedFile::MappedFile(const std::filesystem::path& path) : path_(path) {
  // Non-blocking, or opening a pipe would wait for someone to write to it.
  const Descriptor file{
      ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK)};
  if (file.fd < 0) fail_errno(errno, path, "open");
  struct stat status {};
  if (::fstat(file.fd, &status) != 0) fail_errno(errno, path, "examine");
  if (!S_ISREG(status.st_mode)) {
    fail(ErrorCode::io_error, path.string(), "is not a regular file",
         "give the path of a file");
  }
  const auto size = static_cast<std::size_t>(status.st_size);
  if (size == 0) return;
  void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.fd, 0);
  if (address == MAP_FAILED) fail_errno(errno, path, "map");
  bytes_ = {static_cast<const std::byte*>(address), size};
  mappings().add(bytes_);
#ifdef MADV_HUGEPAGE
  // What stands in large pages of the cache (OutputFile) is mapped by them, and
  // what is read from a disk is read into them.
  advise(bytes_, MADV_HUGEPAGE);
#endif
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : path_(std::move(other.path_)), bytes_(std::exchange(other.bytes_, {})) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(path_, other.path_);
  std::swap(bytes_, other.bytes_);
  return *this;
}

MappedFile::~MappedFile() {
  if (bytes_.empty()) return;
  mappings().remove(bytes_);
  ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());
}

void MappedFile::populate(std::span<const std::byte> range) const {
#ifdef MADV_POPULATE_READ
  advise(range, MADV_POPULATE_READ);
#else
  static_cast<void>(range);
#endif
}

void MappedFile::release(std::span<const std::byte> range) const {
  release_within(bytes_, range);
}

void release_mapped(std::span<const std::byte> range) {
  const auto all = mappings().find(range);
  if (!all.empty()) release_within(all, range);
}

}  // namespace llamlx
