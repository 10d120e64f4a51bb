#include "child_process.h"

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <memory>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#if defined(__APPLE__)
#include <mach-o/dyld.h>
#endif

#include "base/error.h"

extern char** environ;

namespace llamlx {
namespace {

std::string program_path() {
#if defined(__APPLE__)
  std::uint32_t size = 0;
  ::_NSGetExecutablePath(nullptr, &size);
  std::string path(size, '\0');
  ::_NSGetExecutablePath(path.data(), &size);
  return path.c_str();
#else
  // Stays this program even when its file was replaced meanwhile.
  return "/proc/self/exe";
#endif
}

using File = std::unique_ptr<std::FILE, int (*)(std::FILE*)>;

/// A file that has no name, to be read from its beginning. Not a pipe: a child
/// that ends without reading it must not block or kill this process.
File file_with(std::string_view content) {
  File file(std::tmpfile(), &std::fclose);
  if (file == nullptr ||
      std::fwrite(content.data(), 1, content.size(), file.get()) !=
          content.size() ||
      std::fflush(file.get()) != 0) {
    fail_errno(errno, "a temporary file", "write");
  }
  ::lseek(::fileno(file.get()), 0, SEEK_SET);
  return file;
}

/// One end for the child to write, one for us to read.
class Pipe {
 public:
  Pipe() {
    if (::pipe(ends_.data()) != 0) fail_errno(errno, "a pipe", "open");
    for (const int fd : ends_) ::fcntl(fd, F_SETFD, FD_CLOEXEC);
  }
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe() {
    close_end(ends_[0]);
    close_end(ends_[1]);
  }

  int reader() const { return ends_[0]; }
  int writer() const { return ends_[1]; }
  bool is_open() const { return ends_[0] >= 0; }
  void close_writer() { close_end(ends_[1]); }

  /// Appends what has come to `text`, and closes the pipe at its end.
  void read_some(std::string& text) {
    std::array<char, 4096> part{};
    const auto count = ::read(reader(), part.data(), part.size());
    if (count > 0) text.append(part.data(), static_cast<std::size_t>(count));
    if (count == 0 || (count < 0 && errno != EINTR)) close_end(ends_[0]);
  }

 private:
  static void close_end(int& fd) {
    if (fd >= 0) ::close(fd);
    fd = -1;
  }

  std::array<int, 2> ends_{};
};

pid_t spawn(const std::vector<std::string>& arguments, int input, int output,
            int errors) {
  auto path = program_path();
  std::vector<char*> argv = {path.data()};
  for (const auto& argument : arguments) {
    argv.push_back(const_cast<char*>(argument.c_str()));
  }
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  ::posix_spawn_file_actions_init(&actions);
  ::posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  ::posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  pid_t child = 0;
  const int error = ::posix_spawn(&child, path.c_str(), &actions, nullptr,
                                  argv.data(), environ);
  ::posix_spawn_file_actions_destroy(&actions);
  if (error != 0) fail_errno(error, path, "start");
  return child;
}

/// Reads both pipes until the child has closed them.
void read_all(Pipe& output, Pipe& errors, ChildResult& result, pid_t child,
              const InterruptGuard& guard) {
  // A signal may come just before poll() sleeps.
  constexpr int kMilliseconds = 200;
  bool told = false;
  while (output.is_open() || errors.is_open()) {
    if (guard.signal() != 0 && !told) {
      ::kill(child, SIGTERM);
      told = true;
    }
    std::array<pollfd, 2> waiting = {pollfd{output.reader(), POLLIN, 0},
                                     pollfd{errors.reader(), POLLIN, 0}};
    if (::poll(waiting.data(), waiting.size(), kMilliseconds) <= 0) continue;
    if (waiting[0].revents != 0) output.read_some(result.output);
    if (waiting[1].revents != 0) errors.read_some(result.errors);
  }
}

}  // namespace

ChildResult run_self(const std::vector<std::string>& arguments,
                     std::string_view input, const InterruptGuard& guard) {
  const auto file = file_with(input);
  Pipe output, errors;
  const auto child =
      spawn(arguments, ::fileno(file.get()), output.writer(), errors.writer());
  output.close_writer();
  errors.close_writer();
  ChildResult result;
  read_all(output, errors, result, child, guard);
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  guard.check();
  if (WIFEXITED(status)) result.status = WEXITSTATUS(status);
  if (WIFSIGNALED(status)) result.signal = WTERMSIG(status);
  return result;
}

}  // namespace llamlx
