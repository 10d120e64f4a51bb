#include "commands.h"

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

std::string version_line() {
  return concat("llamlx ", LLAMLX_VERSION, " (MLX ", mlx::core::version(), ")");
}

}  // namespace llamlx
