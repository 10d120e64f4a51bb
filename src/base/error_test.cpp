#include "base/error.h"

#include <cerrno>
#include <string>

#include <gtest/gtest.h>

#include "base/testing.h"

namespace llamlx {
namespace {

using testing::error_of;

TEST(ErrorTest, JoinsSubjectCauseAndRemedyInOneLine) {
  const auto message = error_of(ErrorCode::corrupt_file, [] {
    fail(ErrorCode::corrupt_file, "model.gguf", "is cut short",
         "download it again");
  });
  EXPECT_EQ(message, "model.gguf: is cut short; download it again");
}

TEST(ErrorTest, ReplacesLineBreaksAndControlCharacters) {
  const auto message = error_of(ErrorCode::corrupt_file, [] {
    fail(ErrorCode::corrupt_file, "a\nb", "c\x1b[31md\r", "e\x7f");
  });
  EXPECT_EQ(message, "a?b: c?[31md?; e?");
}

TEST(ErrorTest, ShortensLongPartsBetweenCharacters) {
  std::string long_name = "x";
  while (long_name.size() < 5000) long_name += "\xc3\xa9";
  const auto message = error_of(ErrorCode::corrupt_file, [&] {
    fail(ErrorCode::corrupt_file, long_name, "cause", "remedy");
  });
  EXPECT_LT(message.size(), 450u);
  EXPECT_NE(message.find("\xc3\xa9...: cause"), std::string::npos) << message;
}

TEST(ErrorTest, TellsWhatTheSystemRefused) {
  const auto code_for = [](int error_number) {
    try {
      fail_errno(error_number, "weights", "open");
    } catch (const Error& error) {
      return error.code();
    }
  };
  EXPECT_EQ(code_for(ENOENT), ErrorCode::not_found);
  EXPECT_EQ(code_for(ENOSPC), ErrorCode::no_space);
  EXPECT_EQ(code_for(EFBIG), ErrorCode::no_space);
  EXPECT_EQ(code_for(ENOMEM), ErrorCode::out_of_memory);
  EXPECT_EQ(code_for(EACCES), ErrorCode::io_error);
  EXPECT_EQ(code_for(EROFS), ErrorCode::io_error);
  const auto message = error_of(ErrorCode::not_found,
                                [] { fail_errno(ENOENT, "weights", "open"); });
  EXPECT_EQ(message,
            "weights: cannot open (No such file or directory); check the path");
}

}  // namespace
}  // namespace llamlx
