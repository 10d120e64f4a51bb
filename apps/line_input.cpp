#include "line_input.h"

#include <iostream>

#include <unistd.h>

#include "terminal.h"

namespace llamlx {

namespace {

void put(std::string_view text) {
  if (is_terminal(STDERR_FILENO)) {
    print_screen(text);
  } else {
    print(text);
  }
}

}  // namespace

bool can_ask() {
  return is_terminal(STDIN_FILENO) &&
         (is_terminal(STDERR_FILENO) || is_terminal(STDOUT_FILENO));
}

std::optional<std::string> read_line() {
  std::string line;
  if (!std::getline(std::cin, line)) return {};
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::optional<std::string> ask(std::string_view prompt) {
  if (!can_ask()) return read_line();
  put(prompt);
  auto line = read_line();
  if (!line) put("\n");
  return line;
}

}  // namespace llamlx
