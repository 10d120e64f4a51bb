#include "commands.h"

#include <cstdlib>

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
    if (end == text.c_str() || value >= minimum) return {};
    return concat("expected at least ", minimum, ", got ", text);
  };
  return CLI::Validator(check, "");
}

std::string version_line() {
  return concat("llamlx ", LLAMLX_VERSION, " (MLX ", mlx::core::version(), ")");
}

}  // namespace llamlx
