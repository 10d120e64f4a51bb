#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include <unistd.h>

#include "llamlx/llamlx.h"

// What the fuzz targets share. Each defines LLVMFuzzerTestOneInput; anything
// but an Error that reaches libFuzzer is a finding.
namespace llamlx::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// The input as a file, for readers that map one. One a process: it is written
/// anew for every input.
inline const std::filesystem::path& file_of(std::string_view content,
                                            const char* extension) {
  static const std::filesystem::path kPath =
      std::filesystem::temp_directory_path() /
      ("llamlx-fuzz-" + std::to_string(::getpid()) + extension);
  std::ofstream(kPath, std::ios::binary | std::ios::trunc)
      .write(content.data(), static_cast<std::streamsize>(content.size()));
  return kPath;
}

/// Runs `action`, which may refuse its input by an Error and in no other way.
template <typename Action>
int expect_answer_or_error(Action&& action) {
  try {
    action();
  } catch (const Error&) {
  }
  return 0;
}

/// Opens a file of tensors and reads every one of them.
template <typename File>
int read_tensors(std::string_view content, const char* extension) {
  return expect_answer_or_error([&] {
    const File file(file_of(content, extension));
    for (const auto& entry : file.tensors()) {
      expect_answer_or_error([&] { file.read(entry); });
    }
  });
}

}  // namespace llamlx::fuzz
