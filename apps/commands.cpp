#include "commands.h"

#include <charconv>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <system_error>

#include <mlx/version.h>

#include "base/concat.h"

namespace llamlx {

CLI::App* add_command(CLI::App& app, const std::string& name,
                      const std::string& description,
                      const std::string& examples) {
  auto* command = app.add_subcommand(name, description);
  command->set_version_flag("--version", version_line(),
                            "Print the version and exit");
  command->set_help_flag("-h,--help", "Print this help and exit");
  command->footer(concat("Examples:\n", examples));
  return command;
}

CLI::Validator at_least(double minimum) {
  const auto check = [minimum](const std::string& text) -> std::string {
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    // What is no number at all is refused by the option's own type.
    if (end == text.c_str()) return {};
    if (value >= minimum && std::isfinite(value)) return {};
    return concat("expected at least ", minimum, ", got ", text);
  };
  return CLI::Validator(check, "");
}

CLI::Validator not_empty() {
  const auto check = [](const std::string& text) -> std::string {
    return text.empty() ? "expected a text, got none" : "";
  };
  return CLI::Validator(check, "");
}

CLI::Validator whole_number() {
  const auto check = [](const std::string& text) -> std::string {
    std::uint64_t value = 0;
    const auto* end = text.data() + text.size();
    const auto read = std::from_chars(text.data(), end, value);
    if (read.ec == std::errc() && read.ptr == end) return {};
    return concat("expected a whole number below 2^64, got ", text);
  };
  return CLI::Validator(check, "");
}

std::string version_line() {
  return concat("llamlx ", LLAMLX_VERSION, " (MLX ", mlx::core::version(), ")");
}

}  // namespace llamlx
