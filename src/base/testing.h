#pragma once

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/concat.h"
#include "base/error.h"

// What the tests of several rooms need. Only *_test.cpp files include this.
namespace llamlx::testing {

/// A fresh folder under the system's temporary folder, removed with the object.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    static std::atomic<int> next_number = 0;
    path_ = std::filesystem::temp_directory_path() /
            concat("llamlx-test-", ::getpid(), "-", next_number.fetch_add(1));
    std::filesystem::remove_all(path_);
    std::filesystem::create_directories(path_);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  ~TemporaryFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  const std::filesystem::path& path() const { return path_; }

  /// Creates or replaces a file of this folder and returns its path.
  std::filesystem::path write(std::string_view name,
                              std::string_view content) const {
    const auto file = path_ / name;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary) << content;
    return file;
  }

 private:
  std::filesystem::path path_;
};

inline std::string read_bytes(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream content;
  content << file.rdbuf();
  return std::move(content).str();
}

/// The names of what a folder holds, sorted.
inline std::vector<std::string> names_in(const std::filesystem::path& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    names.push_back(entry.path().filename().string());
  }
  std::ranges::sort(names);
  return names;
}

/// Runs `action`, which must throw Error with `code` and a one-line message
/// "subject: cause; remedy"; returns the message.
template <typename Action>
std::string error_of(ErrorCode code, Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    const std::string message = error.what();
    EXPECT_EQ(static_cast<int>(error.code()), static_cast<int>(code))
        << message;
    EXPECT_EQ(message.find('\n'), std::string::npos) << message;
    EXPECT_NE(message.find(": "), std::string::npos) << message;
    EXPECT_NE(message.find("; "), std::string::npos) << message;
    return message;
  }
  ADD_FAILURE() << "no Error was thrown";
  return {};
}

inline constexpr unsigned kLongestChildSeconds = 60;

/// Runs `action` in a child process, after `prepare` took something away from
/// it. Returns what the child's Error said, after the number of its code and a
/// space. Arrays are evaluated before: MLX's threads are not in the child.
inline std::string error_in_child(const std::function<void()>& prepare,
                                  const std::function<void()>& action) {
  int ends[2];
  if (::pipe(ends) != 0) return "no pipe";
  const pid_t child = ::fork();
  if (child == 0) {
    ::alarm(kLongestChildSeconds);
    std::string message = "no Error";
    try {
      prepare();
      action();
    } catch (const Error& error) {
      message = concat(static_cast<int>(error.code()), " ", error.what());
    } catch (...) {
      message = "something other than an Error";
    }
    const auto written = ::write(ends[1], message.data(), message.size());
    ::_exit(written < 0);
  }
  ::close(ends[1]);
  std::string message(4096, '\0');
  const auto got = ::read(ends[0], message.data(), message.size());
  ::close(ends[0]);
  ::waitpid(child, nullptr, 0);
  message.resize(got < 0 ? 0 : static_cast<std::size_t>(got));
  return message;
}

/// For error_in_child: no file may grow beyond `bytes`, as on a full disk.
inline void limit_file_size(rlim_t bytes) {
  ::signal(SIGXFSZ, SIG_IGN);
  const rlimit limit{bytes, bytes};
  ::setrlimit(RLIMIT_FSIZE, &limit);
}

/// For error_in_child: permissions count, even where the tests run as root.
inline void without_privileges() {
  constexpr uid_t kNobody = 65534;
  if (::geteuid() == 0 && ::setuid(kNobody) != 0) ::_exit(1);
}

}  // namespace llamlx::testing
