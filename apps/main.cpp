#include <algorithm>
#include <csignal>
#include <exception>
#include <memory>
#include <new>
#include <stdexcept>
#include <string>
#include <string_view>

#include "base/concat.h"
#include "commands.h"
#include "interrupt.h"
#include "llamlx/llamlx.h"
#include "terminal.h"

namespace llamlx {
namespace {

// Exit statuses; a command ended by a signal leaves with kSignalBase + signal.
constexpr int kFailed = 1;
constexpr int kWrongUsage = 2;
constexpr int kSignalBase = 128;

constexpr const char* kDescription =
    "Runs and shapes language models on MLX, natively.";

constexpr const char* kExamples =
    R"(Examples:
  llamlx convert Llama-3.2-1B-Instruct my-model -q     make a 4-bit MLX model
  llamlx generate --model-path my-model -m 200 \
      --prompt "A great hobby to have is"              write a text
  llamlx compare my-model-bf16 my-model-4bit           measure both
  llamlx bench my-model                                measure its speed
  llamlx perplexity --model-path my-model --text-file corpus.txt
                                                       measure how well it fits
  llamlx info my-model                                 say what is in there
  llamlx doctor my-model                               will it run here?

Exit status: 0 done, 1 failed, 2 wrong usage.
"llamlx COMMAND --help" explains a command.)";

/// Says on standard error, in one line, why the program ends.
int end_with(int status, std::string_view reason) {
  print_note(concat("llamlx: ", printable(reason)));
  return status;
}

std::string used_command(const CLI::App& app) {
  const auto chosen = app.get_subcommands();
  return chosen.empty() ? "llamlx" : "llamlx " + chosen.front()->get_name();
}

int run(int argc, char** argv) {
  CLI::App app(kDescription, "llamlx");
  app.set_version_flag("--version", version_line(),
                       "Print the version and exit");
  app.set_help_flag("-h,--help", "Print this help and exit");
  app.footer(kExamples);
  // Inherited by every command: --help shows the defaults.
  app.option_defaults()->always_capture_default();
  // None is allowed here, so that a misspelt one is named in the error.
  app.require_subcommand(0, 1);
  app.get_formatter()->column_width(34);
  add_convert(app);
  add_generate(app);
  add_compare(app);
  add_bench(app);
  add_perplexity(app);
  add_info(app);
  add_doctor(app);
  try {
    app.parse(argc, argv);
    if (app.get_subcommands().empty()) {
      print_note(app.help());
      return kWrongUsage;
    }
  } catch (const CLI::CallForHelp&) {
    print(app.help());
  } catch (const CLI::CallForVersion& version) {
    print(concat(version.what(), '\n'));
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return end_with(kWrongUsage, concat(error.what(), "; see \"",
                                        used_command(app), " --help\""));
  }
  return 0;
}

}  // namespace
}  // namespace llamlx

int main(int argc, char** argv) {
  using namespace llamlx;
  // Refused writes are to be errors that are told, not a silent death that
  // leaves half-written files behind.
  std::signal(SIGPIPE, SIG_IGN);
  std::signal(SIGXFSZ, SIG_IGN);
  try {
    return run(argc, argv);
  } catch (const ClosedOutput&) {
    return kSignalBase + SIGPIPE;
  } catch (const Interrupted& interrupted) {
    return kSignalBase + interrupted.signal;
  } catch (const std::invalid_argument& error) {
    return end_with(kWrongUsage, error.what());
  } catch (const std::bad_alloc&) {
    return end_with(kFailed,
                    "not enough memory; close other programs, or "
                    "quantise the model to fewer bits");
  } catch (const std::exception& error) {
    return end_with(kFailed, error.what());
  }
}
