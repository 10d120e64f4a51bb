#include "base/error.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>

#include "base/concat.h"
#include "base/utf8.h"

namespace llamlx {
namespace {

constexpr std::size_t kLongestPart = 400;

bool continues_a_character(char c) { return (c & 0xc0) == 0x80; }

std::string one_line(std::string_view part) {
  auto length = std::min(part.size(), kLongestPart);
  if (length < part.size()) {
    while (length > 0 && continues_a_character(part[length])) --length;
  }
  auto line = printable(part.substr(0, length));
  if (length < part.size()) line += "...";
  return line;
}

ErrorCode code_of(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return ErrorCode::not_found;
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return ErrorCode::no_space;
    case ENOMEM:
      return ErrorCode::out_of_memory;
    default:
      return ErrorCode::io_error;
  }
}

const char* remedy_for(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return "check the path";
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free some space or choose another disk";
    case EACCES:
    case EPERM:
      return "check the permissions or choose another folder";
    case EROFS:
      return "choose a folder that can be written";
    case ENOMEM:
      return "free some memory";
    default:
      return "check the disk and the path";
  }
}

}  // namespace

void fail(ErrorCode code, std::string_view subject, std::string_view cause,
          std::string_view remedy) {
  throw Error(code, concat(one_line(subject), ": ", one_line(cause), "; ",
                           one_line(remedy)));
}

void fail_errno(int error_number, const std::filesystem::path& file,
                std::string_view action) {
  fail(code_of(error_number), file.string(),
       concat("cannot ", action, " (", std::strerror(error_number), ")"),
       remedy_for(error_number));
}

}  // namespace llamlx
