#include "line_input.h"

#include <iostream>

#include <unistd.h>

#include "terminal.h"

namespace llamlx {

bool can_ask() {
  return is_terminal(STDIN_FILENO) && is_terminal(STDERR_FILENO);
}

std::optional<std::string> read_line() {
  std::string line;
  if (!std::getline(std::cin, line)) return {};
  if (line.ends_with('\r')) line.pop_back();
  return line;
}

std::optional<std::string> ask(std::string_view prompt) {
  if (!can_ask()) return read_line();
  print_screen(prompt);
  auto line = read_line();
  if (!line) print_screen("\n");
  return line;
}

}  // namespace llamlx
