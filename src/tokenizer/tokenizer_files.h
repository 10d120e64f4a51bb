#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/mapped_file.h"

namespace llamlx {

/// The files a tokenizer is loaded from, by name ("tokenizer.json"): those of a
/// folder, or contents made from something else (a GGUF's metadata).
class TokenizerFiles {
 public:
  /// One file's contents, mapped or borrowed from the TokenizerFiles.
  class Contents {
   public:
    explicit Contents(MappedFile file) : file_(std::move(file)) {}
    explicit Contents(std::string_view text) : text_(text) {}
    std::string_view text() const { return file_ ? file_->text() : text_; }

   private:
    std::optional<MappedFile> file_;
    std::string_view text_;
  };

  /// Not explicit: a folder is a set of files.
  TokenizerFiles(std::filesystem::path folder) : origin_(std::move(folder)) {}

  /// `contents` by name; `origin` is what messages say they came from.
  TokenizerFiles(std::filesystem::path origin,
                 std::map<std::string, std::string> contents)
      : origin_(std::move(origin)), contents_(std::move(contents)) {}

  bool contains(const std::string& name) const;

  /// Those whose names begin with `prefix`, sorted; none when the folder cannot
  /// be read.
  std::vector<std::string> names_with(std::string_view prefix) const;

  /// Errors: those of MappedFile; Error (not_found).
  Contents read(const std::string& name) const;

  /// What messages call the file.
  std::string subject(const std::string& name) const;

 private:
  std::filesystem::path origin_;
  std::optional<std::map<std::string, std::string>> contents_;
};

}  // namespace llamlx
