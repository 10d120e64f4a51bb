#include "formats/zip_directory.h"

#include <algorithm>
#include <functional>
#include <string_view>
#include <utility>

#include "base/concat.h"
#include "base/error.h"
#include "formats/lfs_pointer.h"
#include "formats/zip_layout.h"

namespace llamlx {
namespace {

constexpr std::uint64_t kEncrypted = 1U << 0 | 1U << 6 | 1U << 13;
constexpr std::uint64_t kHasDescriptor = 1U << 3;
constexpr std::uint64_t kShortestDescriptor = 12;

// Two bits are the least that deflate spends on 258 bytes.
constexpr std::uint64_t kDeflateLimit = 258 * 8 / 2;

[[noreturn]] void fail_corrupt(const MappedFile& file, std::string_view cause) {
  fail(ErrorCode::corrupt_file, file.path().string(), cause,
       "download or copy it again");
}

[[noreturn]] void fail_unsupported(const MappedFile& file,
                                   std::string_view cause) {
  fail(ErrorCode::unsupported, file.path().string(), cause,
       "pack it again as a plain zip archive");
}

/// Where the directory is.
struct Extent {
  std::uint64_t begin;
  std::uint64_t size;
  std::uint64_t count;
  std::uint64_t end() const { return begin + size; }
};

/// Finds the directory by the records at the end of the file.
class EndReader {
 public:
  explicit EndReader(const MappedFile& file)
      : file_(file), text_(file.text()) {}

  Extent find() const {
    const auto end = find_end();
    if (end >= zip::kLocatorSize && text_.substr(end - zip::kLocatorSize)
                                        .starts_with(zip::kLocatorSignature)) {
      return read_end64(end);
    }
    check_parts(zip::number(text_, end + 4, 2) + zip::number(text_, end + 6, 2),
                zip::number(text_, end + 8, 2),
                zip::number(text_, end + 10, 2));
    return checked(
        {zip::number(text_, end + 16, 4), zip::number(text_, end + 12, 4),
         zip::number(text_, end + 10, 2)},
        end);
  }

 private:
  std::uint64_t find_end() const {
    // Every record begins so, and one of them the file.
    if (!text_.starts_with("PK")) fail_corrupt(file_, "is not a zip archive");
    const auto longest = zip::kEndSize + zip::kMost16;  // with a comment
    const auto skipped = text_.size() - std::min(text_.size(), longest);
    const auto found = text_.substr(skipped).rfind(zip::kEndSignature);
    if (found == text_.npos) {
      fail_corrupt(file_, "is cut short: the end of a zip archive is missing");
    }
    const auto end = skipped + found;
    const auto rest = text_.size() - end;
    if (rest < zip::kEndSize ||
        rest - zip::kEndSize != zip::number(text_, end + 20, 2)) {
      fail_corrupt(file_, "is cut short, or goes on after its end");
    }
    return end;
  }

  void check_parts(std::uint64_t parts, std::uint64_t here,
                   std::uint64_t everywhere) const {
    if (parts == 0 && here == everywhere) return;
    fail_unsupported(file_, "is one part of an archive in several");
  }

  /// The zip64 record, of which a locator before the record at `end` tells.
  Extent read_end64(std::uint64_t end) const {
    const auto locator = end - zip::kLocatorSize;
    if (zip::number(text_, locator + 16, 4) != 1) check_parts(1, 0, 0);
    const auto begin = zip::number(text_, locator + 8, 8);
    if (locator < zip::kEnd64Size || begin > locator - zip::kEnd64Size ||
        !text_.substr(begin).starts_with(zip::kEnd64Signature) ||
        zip::number(text_, begin + 4, 8) != locator - begin - 12) {
      fail_corrupt(file_, "has a zip64 end record in the wrong place");
    }
    check_parts(
        zip::number(text_, begin + 16, 4) + zip::number(text_, begin + 20, 4),
        zip::number(text_, begin + 24, 8), zip::number(text_, begin + 32, 8));
    const Extent extent = {zip::number(text_, begin + 48, 8),
                           zip::number(text_, begin + 40, 8),
                           zip::number(text_, begin + 32, 8)};
    const auto agrees = [&](std::uint64_t at, std::size_t size,
                            std::uint64_t value) {
      const auto small = zip::number(text_, at, size);
      return small == value ||
             small == (size == 2 ? zip::kMost16 : zip::kMost32);
    };
    if (!agrees(end + 10, 2, extent.count) ||
        !agrees(end + 12, 4, extent.size) ||
        !agrees(end + 16, 4, extent.begin)) {
      fail_corrupt(file_, "has two end records that disagree");
    }
    return checked(extent, begin);
  }

  Extent checked(const Extent& extent, std::uint64_t end) const {
    if (extent.size > end || extent.begin != end - extent.size) {
      fail_corrupt(
          file_, concat("has a directory of ", extent.size, " bytes at byte ",
                        extent.begin, ", which is not before its end record"));
    }
    if (extent.count > extent.size / zip::kHeaderSize) {
      fail_corrupt(
          file_, concat("has a directory of ", extent.size,
                        " bytes, too few for its ", extent.count, " entries"));
    }
    return extent;
  }

  const MappedFile& file_;
  std::string_view text_;
};

/// An entry and the bytes of the file it takes: local header, data, descriptor.
struct Located {
  ZipEntry entry;
  std::uint64_t begin;
  std::uint64_t end;
};

/// The numbers of 64 bits in an extra field, which stand for those of a header
/// that have no room there.
class WideNumbers {
 public:
  explicit WideNumbers(std::string_view extra) {
    while (extra.size() >= 4) {
      const auto size = zip::number(extra, 2, 2);
      if (size > extra.size() - 4) return;
      if (zip::number(extra, 0, 2) == zip::kZip64Extra) {
        rest_ = extra.substr(4, size);
        return;
      }
      extra.remove_prefix(4 + size);
    }
  }

  /// `small`, or the next number of `size` bytes where `small` is `most`.
  std::uint64_t widened(std::uint64_t small, std::uint64_t most,
                        std::size_t size) {
    if (small != most || rest_.size() < size) return small;
    const auto wide = zip::number(rest_, 0, size);
    rest_.remove_prefix(size);
    return wide;
  }

 private:
  std::string_view rest_;
};

/// Reads one entry of the directory, and its local header.
class EntryReader {
 public:
  /// `header` is the entry in the directory, of which `name` is a part; entries
  /// must end before `limit`.
  EntryReader(const MappedFile& file, std::string_view header,
              std::string_view name, std::string_view extra,
              std::uint64_t limit)
      : file_(file),
        text_(file.text()),
        limit_(limit),
        name_(name),
        flags_(zip::number(header, 8, 2)),
        method_(zip::number(header, 10, 2)),
        crc_(zip::number(header, 16, 4)) {
    WideNumbers wide(extra);
    size_ = wide.widened(zip::number(header, 24, 4), zip::kMost32, 8);
    compressed_size_ =
        wide.widened(zip::number(header, 20, 4), zip::kMost32, 8);
    begin_ = wide.widened(zip::number(header, 42, 4), zip::kMost32, 8);
    part_ = wide.widened(zip::number(header, 34, 2), zip::kMost16, 4);
  }

  Located read() const {
    check_kind();
    check_sizes();
    if (limit_ < zip::kLocalSize || begin_ > limit_ - zip::kLocalSize) {
      refuse("begins beyond the place for entries");
    }
    const auto header = text_.substr(begin_, zip::kLocalSize);
    const auto extra_size = zip::number(header, 28, 2);
    const auto data = begin_ + zip::kLocalSize + name_.size() + extra_size;
    if (data > limit_ || compressed_size_ > limit_ - data) {
      refuse("reaches beyond the place for entries");
    }
    check_local_header(header,
                       text_.substr(begin_ + zip::kLocalSize, name_.size()),
                       text_.substr(data - extra_size, extra_size));
    auto end = data + compressed_size_;
    if (has_descriptor(header)) end += kShortestDescriptor;
    return {{std::string(name_), size_, compressed_size_,
             static_cast<std::uint32_t>(crc_), method_ == zip::kStored, data},
            begin_,
            end};
  }

 private:
  [[noreturn]] void refuse(std::string_view cause) const {
    fail_corrupt(file_, concat("entry ", name_, " ", cause));
  }
  [[noreturn]] void refuse_unsupported(std::string_view cause) const {
    fail_unsupported(file_, concat("entry ", name_, " ", cause));
  }

  static bool has_descriptor(std::string_view local_header) {
    return (zip::number(local_header, 6, 2) & kHasDescriptor) != 0;
  }

  void check_kind() const {
    if ((flags_ & kEncrypted) != 0) refuse_unsupported("is encrypted");
    if (part_ != 0) refuse_unsupported("lies in another part of the archive");
    if (method_ != zip::kStored && method_ != zip::kDeflated) {
      refuse_unsupported(concat("is compressed by method ", method_,
                                "; stored and deflated are read"));
    }
    if (name_.find('\0') != name_.npos) refuse("has a name with a zero byte");
  }

  void check_sizes() const {
    if (method_ == zip::kStored && size_ != compressed_size_) {
      refuse(concat("is stored and has two sizes, ", size_, " and ",
                    compressed_size_, " bytes"));
    }
    if (method_ == zip::kDeflated && size_ / kDeflateLimit > compressed_size_) {
      refuse(concat("claims to expand from ", compressed_size_, " to ", size_,
                    " bytes, which deflate cannot"));
    }
  }

  void check_local_header(std::string_view header, std::string_view name,
                          std::string_view extra) const {
    if (!header.starts_with(zip::kLocalSignature))
      refuse("has no local header");
    if (zip::number(header, 26, 2) != name_.size() || name != name_) {
      refuse("has another name in its local header");
    }
    if ((zip::number(header, 6, 2) & kEncrypted) != 0) {
      refuse_unsupported("is encrypted");
    }
    if (zip::number(header, 8, 2) != method_) {
      refuse("has another method in its local header");
    }
    if (has_descriptor(header)) return;  // CRC and sizes come later
    WideNumbers wide(extra);
    if (wide.widened(zip::number(header, 22, 4), zip::kMost32, 8) != size_ ||
        wide.widened(zip::number(header, 18, 4), zip::kMost32, 8) !=
            compressed_size_) {
      refuse("has another size in its local header");
    }
    if (zip::number(header, 14, 4) != crc_) {
      refuse("has another checksum in its local header");
    }
  }

  const MappedFile& file_;
  std::string_view text_;
  std::uint64_t limit_;
  std::string_view name_;
  std::uint64_t flags_;
  std::uint64_t method_;
  std::uint64_t crc_;
  std::uint64_t size_;
  std::uint64_t compressed_size_;
  std::uint64_t begin_;
  std::uint64_t part_;
};

std::vector<Located> read_entries(const MappedFile& file,
                                  const Extent& directory) {
  auto rest = file.text().substr(directory.begin, directory.size);
  std::vector<Located> entries;
  for (std::uint64_t i = 0; i < directory.count; ++i) {
    const auto header = rest.substr(0, zip::kHeaderSize);
    const auto size_at = [&](std::uint64_t at) {
      return zip::number(header, at, 2);
    };
    if (header.size() < zip::kHeaderSize ||
        !header.starts_with(zip::kHeaderSignature) ||
        size_at(28) + size_at(30) + size_at(32) >
            rest.size() - zip::kHeaderSize) {
      fail_corrupt(file, concat("has a damaged directory, in entry ", i + 1,
                                " of ", directory.count));
    }
    rest.remove_prefix(zip::kHeaderSize);
    const auto name = rest.substr(0, size_at(28));
    const auto extra = rest.substr(name.size(), size_at(30));
    rest.remove_prefix(name.size() + extra.size() + size_at(32));
    entries.push_back(
        EntryReader(file, header, name, extra, directory.begin).read());
  }
  if (!rest.empty()) {
    fail_corrupt(file, concat("has ", rest.size(), " bytes of no entry in its ",
                              "directory"));
  }
  return entries;
}

void check_overlaps(const MappedFile& file, std::vector<Located>& located,
                    std::uint64_t directory) {
  std::ranges::sort(located, {}, &Located::begin);
  for (std::size_t i = 0; i < located.size(); ++i) {
    const bool is_last = i + 1 == located.size();
    const auto next = is_last ? directory : located[i + 1].begin;
    if (located[i].end <= next) continue;
    fail_corrupt(file,
                 concat("entry ", located[i].entry.name, " overlaps ",
                        is_last ? "the directory" : located[i + 1].entry.name));
  }
}

}  // namespace

std::vector<ZipEntry> read_zip_directory(const MappedFile& file) {
  refuse_lfs_pointer(file);
  const auto directory = EndReader(file).find();
  auto located = read_entries(file, directory);
  check_overlaps(file, located, directory.begin);
  std::vector<ZipEntry> entries;
  entries.reserve(located.size());
  for (auto& one : located) entries.push_back(std::move(one.entry));
  std::ranges::sort(entries, {}, &ZipEntry::name);
  const auto twice =
      std::ranges::adjacent_find(entries, std::equal_to<>(), &ZipEntry::name);
  if (twice != entries.end()) {
    fail_corrupt(file, concat("has two entries called ", twice->name));
  }
  return entries;
}

}  // namespace llamlx
